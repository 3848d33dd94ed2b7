//! The rules of the contract, over the descriptor set: what buf would say, without buf.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

fn pool() -> DescriptorPool {
    DescriptorPool::decode(tallystick_proto::FILE_DESCRIPTOR_SET).unwrap()
}

fn ours(full_name: &str) -> bool {
    full_name.starts_with("tallystick.")
}

fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let found: Vec<_> = pool.all_messages().filter(|message| ours(message.full_name())).collect();
    assert!(found.len() > 80, "{} messages", found.len());
    found
}

fn enums(pool: &DescriptorPool) -> Vec<EnumDescriptor> {
    let found: Vec<_> = pool.all_enums().filter(|descriptor| ours(descriptor.full_name())).collect();
    assert!(found.len() > 5, "{} enums", found.len());
    found
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = pool.services().filter(|service| ours(service.full_name()));
    let found: Vec<_> = services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(found.len() > 35, "{} methods", found.len());
    found
}

fn snake(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            text.push('_');
        }
        text.extend(c.to_uppercase());
    }
    text
}

#[test]
fn everything_is_commented() {
    let pool = pool();
    let mut checked = 0;
    for file in pool.files().filter(|file| file.name().starts_with("tallystick/")) {
        let descriptor = file.file_descriptor_proto();
        let info = descriptor.source_code_info.as_ref().expect("the descriptors carry no source info");
        let commented = |path: &[i32]| {
            let location = info.location.iter().find(|location| location.path == path);
            location.is_some_and(|location| location.leading_comments().trim().len() > 3)
        };
        let mut wanted: Vec<(Vec<i32>, String)> = Vec::new();
        for message in pool.all_messages().filter(|message| message.parent_file() == file) {
            wanted.push((message.path().to_vec(), message.full_name().to_owned()));
            wanted
                .extend(message.fields().map(|field| (field.path().to_vec(), field.full_name().to_owned())));
        }
        for descriptor in pool.all_enums().filter(|descriptor| descriptor.parent_file() == file) {
            wanted.push((descriptor.path().to_vec(), descriptor.full_name().to_owned()));
            wanted.extend(
                descriptor.values().map(|value| (value.path().to_vec(), value.full_name().to_owned())),
            );
        }
        for service in file.services() {
            wanted.push((service.path().to_vec(), service.full_name().to_owned()));
            wanted.extend(
                service.methods().map(|method| (method.path().to_vec(), method.full_name().to_owned())),
            );
        }
        for (path, name) in wanted {
            assert!(commented(&path), "{name} has no comment");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked} elements");
}

#[test]
fn requests_and_responses_are_named_after_their_rpc_and_used_once() {
    let pool = pool();
    let mut seen = std::collections::HashSet::new();
    for method in methods(&pool) {
        let stem = format!("{}{}", method.parent_service().name(), method.name());
        assert_eq!(method.input().name(), format!("{stem}Request"), "{}", method.full_name());
        assert_eq!(method.output().name(), format!("{stem}Response"), "{}", method.full_name());
        assert!(method.parent_service().name().ends_with("Service"), "{}", method.full_name());
        assert!(seen.insert(method.input().full_name().to_owned()));
        assert!(seen.insert(method.output().full_name().to_owned()));
    }
}

#[test]
fn the_comment_of_an_rpc_says_who_may_call_and_which_reasons() {
    let pool = pool();
    let values: Vec<String> = enums(&pool)
        .iter()
        .flat_map(|descriptor| descriptor.values().map(|value| value.name().to_owned()).collect::<Vec<_>>())
        .collect();
    for method in methods(&pool) {
        let file = method.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
        let location = info.location.iter().find(|location| location.path == method.path()).unwrap();
        let comment = location.leading_comments();
        for word in ["Callers:", "Reasons:"] {
            assert!(comment.contains(word), "{} does not say {word}", method.full_name());
        }
        let reads =
            ["Get", "List", "Quote", "Query", "Stream"].iter().any(|verb| method.name().starts_with(verb));
        assert!(
            reads || comment.contains("Idempotency:"),
            "{} does not say its idempotency",
            method.full_name()
        );
        for reason in comment
            .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
            .filter(|word| word.contains('_') && word.len() > 6)
        {
            // A reason, or the value of another enum by its short name.
            let tail = format!("_{reason}");
            assert!(
                values.iter().any(|value| value == reason || value.ends_with(&tail)),
                "{} names an unknown reason {reason}",
                method.full_name()
            );
        }
    }
}

#[test]
fn every_rpc_declares_its_callers() {
    let pool = pool();
    let extension = pool.get_extension_by_name("tallystick.common.v1.access").unwrap();
    for method in methods(&pool) {
        assert!(method.options().has_extension(&extension), "{} declares no access", method.full_name());
    }
}

#[test]
fn enums_begin_with_an_unspecified_zero_and_values_carry_the_enums_name() {
    for descriptor in enums(&pool()) {
        let prefix = format!("{}_", upper_snake(descriptor.name()));
        let zero = descriptor.get_value(0).unwrap();
        assert_eq!(zero.name(), format!("{prefix}UNSPECIFIED"), "{}", descriptor.full_name());
        for value in descriptor.values() {
            assert!(value.name().starts_with(&prefix), "{} in {}", value.name(), descriptor.full_name());
        }
    }
}

fn check_field(field: &FieldDescriptor) {
    let name = field.name();
    assert!(snake(name), "{}", field.full_name());
    assert!(!matches!(field.kind(), Kind::Float | Kind::Double), "{} is a float", field.full_name());
    if let Kind::Message(message) = field.kind() {
        match message.full_name() {
            "google.protobuf.Timestamp" => assert!(name.ends_with("_time"), "{}", field.full_name()),
            "google.type.Date" => assert!(name.ends_with("_date"), "{}", field.full_name()),
            "google.protobuf.Empty" => panic!("{} is empty", field.full_name()),
            _ => {}
        }
    }
    if name.ends_with("_id") {
        assert_eq!(field.kind(), Kind::String, "{}", field.full_name());
    }
}

#[test]
fn fields_follow_the_names_of_their_types() {
    for message in messages(&pool()) {
        message.fields().for_each(|field| check_field(&field));
    }
}

#[test]
fn lists_are_paged() {
    for method in methods(&pool()).into_iter().filter(|method| method.name().starts_with("List")) {
        let has = |message: &MessageDescriptor, field: &str| message.get_field_by_name(field).is_some();
        assert!(
            has(&method.input(), "page_size") && has(&method.input(), "page_token"),
            "{}",
            method.full_name()
        );
        assert!(has(&method.output(), "next_page_token"), "{}", method.full_name());
        let first = method.output().get_field(1).unwrap();
        assert!(first.is_list(), "{}", method.full_name());
    }
}

#[test]
fn packages_follow_their_folders_and_end_in_v1() {
    let pool = pool();
    for file in pool.files().filter(|file| file.name().starts_with("tallystick/")) {
        let folder = file.name().rsplit_once('/').unwrap().0.replace('/', ".");
        assert_eq!(file.package_name(), folder);
        assert!(file.package_name().ends_with(".v1"));
    }
}
