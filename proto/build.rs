//! Compiles every `.proto` below this folder, without `protoc`, and writes down who may call what.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

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
            let (callers, services) = access(pool, &method)?;
            writeln!(
                text,
                "    MethodAccess {{ path: {path:?}, callers: &[{}], services: &{services:?} }},",
                callers.join(", ")
            )?;
        }
    }
    text.push_str("];\n");
    Ok(text)
}

fn access(pool: &DescriptorPool, method: &MethodDescriptor) -> Outcome<(Vec<String>, Vec<String>)> {
    let extension = pool
        .get_extension_by_name("tallystick.common.v1.access")
        .ok_or("the extension tallystick.common.v1.access is missing")?;
    let options: DynamicMessage = method.options();
    let value = options.get_extension(&extension);
    let Value::Message(access) = value.as_ref() else { return Err("access is not a message".into()) };
    let mut callers = Vec::new();
    let mut services = Vec::new();
    if let Some(Value::List(list)) = access.get_field_by_name("callers").as_deref() {
        for value in list {
            callers.push(match value.as_enum_number() {
                Some(1) => "Caller::Service".to_owned(),
                Some(2) => "Caller::Operator".to_owned(),
                Some(3) => "Caller::User".to_owned(),
                Some(4) => "Caller::Anyone".to_owned(),
                other => return Err(format!("{}: unknown caller {other:?}", method.full_name()).into()),
            });
        }
    }
    if let Some(Value::List(list)) = access.get_field_by_name("services").as_deref() {
        services.extend(list.iter().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    Ok((callers, services))
}
