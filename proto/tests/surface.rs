//! The public surface as text: an accidental change of the contract changes this file, and a line that disappears has to be
//! explained. To accept a change: `UPDATE_GOLDEN=1 cargo test -p tallystick-proto --test surface`.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

use std::fmt::Write as _;
use std::path::Path;

use prost_reflect::DescriptorPool;

fn surface() -> String {
    let pool = DescriptorPool::decode(tallystick_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut lines = Vec::new();
    for message in pool.all_messages().filter(|message| message.full_name().starts_with("tallystick.")) {
        lines.push(format!("message {}", message.full_name()));
        for field in message.fields() {
            let label = if field.is_list() { "repeated " } else { "" };
            lines.push(format!("field {} = {} {label}{:?}", field.full_name(), field.number(), field.kind()));
        }
    }
    for descriptor in pool.all_enums().filter(|descriptor| descriptor.full_name().starts_with("tallystick."))
    {
        for value in descriptor.values() {
            lines.push(format!("value {}.{} = {}", descriptor.full_name(), value.name(), value.number()));
        }
    }
    for method in
        tallystick_proto::access::METHODS.iter().filter(|method| method.path.starts_with("/tallystick."))
    {
        lines
            .push(format!("rpc {} callers {:?} services {:?}", method.path, method.callers, method.services));
        if method.right != tallystick_proto::common::v1::Right::Unspecified {
            lines.push(format!("rpc {} right {:?} objects {:?}", method.path, method.right, method.objects));
        }
    }
    for service in pool.services().filter(|service| service.full_name().starts_with("tallystick.")) {
        for method in service.methods() {
            let streams = (method.is_client_streaming(), method.is_server_streaming());
            lines.push(format!("rpc {} streams {streams:?}", method.full_name()));
        }
    }
    lines.sort();
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    })
}

#[test]
fn the_surface_is_the_golden_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/surface.txt");
    let surface = surface();
    assert!(surface.lines().count() > 500);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &surface).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for line in golden.lines() {
        assert!(surface.contains(line), "gone from the contract: {line}");
    }
    assert_eq!(surface, golden, "the contract has grown: accept it with UPDATE_GOLDEN=1");
}
