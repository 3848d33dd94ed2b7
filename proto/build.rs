//! Compiles every `.proto` below this folder, without `protoc`, and writes down who may call what.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MethodDescriptor, Value};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    for folder in ["google", "tallystick"] {
        println!("cargo:rerun-if-changed={folder}");
        find_protos(&root.join(folder), &mut files)?;
    }
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(&files)?;
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let pool = compiler.descriptor_pool();
    fs::write(out.join("access.rs"), access_table(&pool)?)?;

    tonic_prost_build::configure()
        .include_file("tree.rs")
        .bytes(".none")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn find_protos(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

/// One line per RPC. An RPC that declares no caller gets an empty list: nobody may call it.
fn access_table(pool: &DescriptorPool) -> Outcome<String> {
    let mut text = String::from("pub const METHODS: &[MethodAccess] = &[\n");
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let access = access(pool, &method)?;
            writeln!(
                text,
                "    MethodAccess {{ path: {path:?}, callers: &[{}], services: &{:?}, right: {}, objects: &{:?}, streams: {} }},",
                access.callers.join(", "),
                access.services,
                access.right,
                access.objects,
                method.is_client_streaming(),
            )?;
        }
    }
    text.push_str("];\n");
    Ok(text)
}

/// What an RPC declares, as Rust text where it is a type of the contract.
struct Declared {
    callers: Vec<String>,
    services: Vec<String>,
    right: String,
    objects: Vec<(String, u32)>,
}

fn access(pool: &DescriptorPool, method: &MethodDescriptor) -> Outcome<Declared> {
    let extension = pool
        .get_extension_by_name("tallystick.common.v1.access")
        .ok_or("the extension tallystick.common.v1.access is missing")?;
    let options: DynamicMessage = method.options();
    let value = options.get_extension(&extension);
    let Value::Message(access) = value.as_ref() else { return Err("access is not a message".into()) };
    let numbers = |field: &str| match access.get_field_by_name(field).as_deref() {
        Some(Value::List(list)) => list.iter().filter_map(Value::as_enum_number).collect(),
        Some(Value::EnumNumber(number)) => vec![*number],
        _ => Vec::new(),
    };
    let words = |field: &str| match access.get_field_by_name(field).as_deref() {
        Some(Value::List(list)) => {
            list.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::<String>::new(),
    };
    let mut declared = Declared {
        callers: Vec::new(),
        services: words("services"),
        right: String::new(),
        objects: Vec::new(),
    };
    for number in numbers("callers") {
        declared.callers.push(variant(pool, "Caller", number)?);
    }
    declared.right = variant(pool, "Right", numbers("right").first().copied().unwrap_or_default())?;
    for name in words("objects") {
        let field = method.input().get_field_by_name(&name);
        let field = field.filter(|field| field.kind() == Kind::String && !field.is_list());
        let field = field.ok_or_else(|| format!("{}: no string field {name}", method.full_name()))?;
        declared.objects.push((name, field.number()));
    }
    if method.is_client_streaming() && !declared.objects.is_empty() {
        return Err(
            format!("{}: only the first message of a stream would be judged", method.full_name()).into()
        );
    }
    let for_users = declared.callers.iter().any(|caller| caller == "Caller::User");
    let bare = matches!(declared.right.as_str(), "Right::Unspecified" | "Right::SignedIn");
    if for_users == (declared.right == "Right::Unspecified") || bare != declared.objects.is_empty() {
        return Err(format!("{}: callers, right and objects do not fit", method.full_name()).into());
    }
    Ok(declared)
}

/// "Caller::User" for CALLER_USER.
fn variant(pool: &DescriptorPool, name: &str, number: i32) -> Outcome<String> {
    let descriptor = pool.get_enum_by_name(&format!("tallystick.common.v1.{name}"));
    let value = descriptor.as_ref().and_then(|descriptor| descriptor.get_value(number));
    let value = value.ok_or_else(|| format!("unknown {name} {number}"))?;
    let words = value.name().split('_').skip(1).map(|word| {
        let (head, tail) = word.split_at(1);
        format!("{head}{}", tail.to_lowercase())
    });
    Ok(format!("{name}::{}", words.collect::<String>()))
}
