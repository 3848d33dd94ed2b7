//! Rules about ourselves that are enforced by a test, not by memory.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod docs;
mod names;
mod rooms;
mod rules;
mod sql;

use std::fs;
use std::path::{Path, PathBuf};

pub const SERVICES: [&str; 4] = ["account", "workspace", "billing", "settlement"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below a folder with this extension, with its text; a folder that is not there has none.
pub fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !["target", ".git", ".local", ".sqlx"].contains(&path.file_name().unwrap().to_str().unwrap()) {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Our own sources.
pub fn sources() -> Vec<(PathBuf, String)> {
    let found = files(&root(), "rs");
    assert!(found.len() > 120, "{} sources", found.len());
    found
}
