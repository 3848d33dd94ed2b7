//! Documents move with the code: files that are named exist, RPCs and variables that exist are named.

use crate::{SERVICES, files, root};

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn files_that_architecture_names_exist() {
    let text = read("ARCHITECTURE.md");
    let mut checked = 0;
    for word in text.split('`').skip(1).step_by(2) {
        if word.contains('/')
            && (word.ends_with(".rs")
                || word.ends_with(".sql")
                || word.ends_with(".proto")
                || word.ends_with('/'))
        {
            assert!(root().join(word).exists(), "ARCHITECTURE.md names {word}");
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked} files are named");
}

#[test]
fn service_readmes_name_every_rpc_and_variable() {
    let variables: Vec<String> = read("chassis/src/config.rs")
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| word.len() > 8 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .map(str::to_owned)
        .collect();
    assert!(variables.len() > 10, "{variables:?}");
    for service in SERVICES {
        let readme = read(&format!("{service}-svc/README.md"));
        let mut rpcs = 0;
        for (path, text) in files(&root().join(format!("proto/tallystick/{service}/v1")), "proto") {
            let Some(name) = text.split("\nservice ").nth(1).and_then(|rest| rest.split_whitespace().next())
            else {
                continue;
            };
            for rpc in text.split("\n  rpc ").skip(1) {
                let rpc = rpc.split('(').next().unwrap();
                assert!(
                    readme.contains(&format!("{name}/{rpc}")),
                    "{name}/{rpc} of {} in its README",
                    path.display()
                );
                rpcs += 1;
            }
        }
        assert!(rpcs > 5, "{service}: {rpcs} RPCs");
        let own = format!("{}_ADDR", service.to_uppercase());
        for variable in variables
            .iter()
            .filter(|variable| !variable.ends_with("_ADDR") || variable.ends_with("LISTEN_ADDR"))
        {
            assert!(readme.contains(variable.as_str()), "{variable} in the README of {service}");
        }
        assert!(!readme.contains(&format!("`{own}`")), "{service} needs no address of itself");
    }
}

#[test]
fn the_changelog_names_the_version() {
    let version =
        read("Cargo.toml").split("version = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(read("CHANGELOG.md").contains(&version));
}
