//! Each room uses only what it may.

use std::path::Path;

use crate::{SERVICES, files, root};

/// A room, and what its sources may not contain.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("api", &["sqlx", "store::", ".begin()"]),
    ("app", &["tallystick_proto", "tonic::", "sqlx::query", "prost::"]),
    (
        "domain",
        &[
            "sqlx",
            "tonic",
            "prost",
            "tokio",
            "tracing",
            "async ",
            "tallystick_proto",
            "Clock",
            "crate::store",
            "crate::app",
        ],
    ),
    ("store", &["tonic", "tallystick_proto", "crate::app", "crate::peers", "crate::api"]),
    ("peers", &["sqlx", "crate::store", "crate::app"]),
    ("worker", &["sqlx", "crate::store"]),
];

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut checked = 0;
    for service in SERVICES {
        for (room, forbidden) in FORBIDDEN {
            let folder = root().join(format!("{service}-svc/src/{room}"));
            for (path, text) in files(&folder, "rs") {
                if path.ends_with("rating/tests.rs") {
                    continue;
                }
                for word in *forbidden {
                    let found = without_tests(&text)
                        .lines()
                        .find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                    assert!(found.is_none(), "{} may not use {word}: {}", path.display(), found.unwrap());
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 90, "{checked} files");
}

#[test]
fn every_room_is_there_and_nothing_else() {
    for service in SERVICES {
        let folder = root().join(format!("{service}-svc/src"));
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["api", "app", "domain", "lib.rs", "main.rs", "peers", "store", "worker"],
            "{service}"
        );
    }
}

#[test]
fn no_service_depends_on_another() {
    for service in SERVICES {
        let text = std::fs::read_to_string(root().join(format!("{service}-svc/Cargo.toml"))).unwrap();
        for other in SERVICES.into_iter().filter(|other| *other != service) {
            assert!(!text.contains(&format!("{other}-svc.workspace")), "{service} depends on {other}");
        }
    }
}

#[test]
fn no_file_is_too_long_and_none_is_a_drawer() {
    for (path, text) in crate::sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["utils", "helpers", "common", "types", "misc"].contains(&stem), "{}", path.display());
        assert!(Path::new(&path).exists());
    }
}
