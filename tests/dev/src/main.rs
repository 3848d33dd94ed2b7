//! `cargo dev prepare`: refreshes the checked-in query data of the four services. `cargo dev check`: what CI runs. Depends on nothing
//! of ours, so that it runs when stale query data keeps the services from compiling.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

const SCHEMAS: [&str; 4] = ["account", "workspace", "billing", "settlement"];
const DATABASE: &str = "tallystick_prepare";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("prepare") => prepare(std::env::args().nth(2).as_deref()),
        Some("check") => run(Command::new("bash").arg(root().join(".ci/run"))),
        _ => Err(anyhow::anyhow!("usage: cargo dev prepare [SCHEMA] | check")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// The macros check every statement against the database that this variable names, and write what they learn where they are told to.
fn write_query_data(schema: &str, database: &str) -> anyhow::Result<()> {
    let service = root().join(format!("{schema}-svc"));
    let written = service.join(".sqlx");
    if written.exists() {
        std::fs::remove_dir_all(&written)?;
    }
    std::fs::create_dir_all(&written)?;
    // Cargo does not see that the variables have changed: a newer source makes it compile the service anew.
    let source = service.join("src/lib.rs");
    let text = std::fs::read(&source)?;
    std::fs::write(&source, text)?;
    run(Command::new("cargo")
        .args(["check", "--package", &format!("{schema}-svc"), "--lib"])
        .current_dir(root())
        .env(format!("{}_DATABASE_URL", schema.to_uppercase()), database)
        .env("SQLX_OFFLINE_DIR", &written))
}

/// Needs psql and, in `DATABASE_URL`, an administrator of a scratch server.
fn prepare(wanted: Option<&str>) -> anyhow::Result<()> {
    let Ok(admin) = std::env::var("DATABASE_URL") else {
        bail!(
            "set DATABASE_URL to an administrator of a scratch server, such as postgres://postgres@127.0.0.1/postgres"
        );
    };
    let (server, _) = admin.rsplit_once('/').context("DATABASE_URL names no database")?;
    let database = format!("{server}/{DATABASE}");
    let psql = |url: &str, arguments: &[&str]| {
        run(Command::new("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-d", url]).args(arguments))
    };
    psql(&admin, &["-c", &format!("drop database if exists {DATABASE} with (force)")])?;
    psql(&admin, &["-c", &format!("create database {DATABASE}")])?;
    psql(&database, &["-f", &root().join("deploy/sql/roles.sql").to_string_lossy()])?;
    for schema in SCHEMAS {
        let table =
            format!("create table {schema}._sqlx_migrations (version bigint primary key, success boolean)");
        psql(&database, &["-c", &table])?;
        let mut files: Vec<_> = std::fs::read_dir(root().join(format!("{schema}-svc/migrations")))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            // Each in one transaction, as a service applies it.
            psql(&database, &["-1", "-f", &file.to_string_lossy()])?;
        }
        if wanted.is_none_or(|wanted| wanted == schema) {
            write_query_data(schema, &database)?;
        }
    }
    psql(&admin, &["-c", &format!("drop database {DATABASE} with (force)")])
}
