//! What migrations and statements promise: distribution, constraints by name, append-only by grant, frames alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::{SERVICES, files, root};

/// A table as its migration declares it.
struct Table {
    name: String,
    body: String,
    distribution: String,
}

fn migrations(service: &str) -> String {
    let found = files(&root().join(format!("{service}-svc/migrations")), "sql");
    assert!(found.len() >= 2, "{service} has {} migrations", found.len());
    found.into_iter().map(|(_, text)| text).collect()
}

fn tables(service: &str) -> Vec<Table> {
    let text = migrations(service);
    let mut tables = Vec::new();
    for part in text.split("\ncreate table ").skip(1) {
        let (name, rest) = part.split_once(" (").unwrap();
        let Some(name) = name.strip_prefix(&format!("{service}.")) else { continue };
        let body = rest.split("\n)").next().unwrap().to_owned();
        let marker = format!("comment on table {service}.{name} is '");
        let comment = text.split(&marker).nth(1).unwrap_or_else(|| panic!("{service}.{name} has no comment"));
        let comment = comment.split("';").next().unwrap();
        let distribution = comment.rsplit("; ").next().unwrap().to_owned();
        tables.push(Table { name: name.to_owned(), body, distribution });
    }
    assert!(tables.len() >= 8, "{service}: {} tables", tables.len());
    tables
}

#[test]
fn every_table_declares_its_distribution() {
    for service in SERVICES {
        for table in tables(service) {
            let known = table.distribution == "reference"
                || table.distribution == "local"
                || table.distribution.starts_with("distributed by ");
            assert!(known, "{service}.{} is {:?}", table.name, table.distribution);
        }
    }
}

/// The columns of a key: what stands in its first parentheses.
fn columns(line: &str) -> Vec<String> {
    let inside = line.split('(').nth(1).unwrap_or_default().split(')').next().unwrap_or_default();
    inside.split(',').map(|column| column.trim().trim_end_matches(" with =").to_owned()).collect()
}

#[test]
fn unique_and_foreign_keys_of_distributed_tables_contain_the_distribution_column() {
    let mut checked = 0;
    for service in SERVICES {
        let all = tables(service);
        let by_name: BTreeMap<_, _> =
            all.iter().map(|table| (table.name.clone(), table.distribution.clone())).collect();
        for table in &all {
            let Some(column) = table.distribution.strip_prefix("distributed by ") else { continue };
            assert!(table.body.contains(&format!("{column} uuid not null")), "{}", table.name);
            for line in table.body.lines() {
                let is_key = ["primary key", "unique", "foreign key", "exclude"]
                    .iter()
                    .any(|word| line.contains(word));
                if !is_key {
                    continue;
                }
                let rest = ["primary key", "unique", "foreign key", "exclude"]
                    .iter()
                    .find_map(|w| line.split_once(w))
                    .unwrap()
                    .1;
                assert!(columns(rest).contains(&column.to_owned()), "{}: {line}", table.name);
                checked += 1;
            }
            for target in table.body.split(&format!("references {service}.")).skip(1) {
                let target: String =
                    target.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let other = &by_name[&target];
                assert!(*other == table.distribution || other == "reference", "{} -> {target}", table.name);
            }
        }
    }
    assert!(checked > 25, "{checked} keys");
}

#[test]
fn no_sequences_triggers_default_partitions_or_bare_scales() {
    for service in SERVICES {
        let text = migrations(service);
        for word in [
            "serial",
            "nextval",
            "create trigger",
            "create rule",
            "generated always as identity",
            "numeric(",
            " default partition",
        ] {
            assert!(!text.contains(word), "{word} in the migrations of {service}");
        }
    }
}

#[test]
fn the_frame_is_the_same_in_all_four_services() {
    let frames: BTreeSet<String> = SERVICES
        .iter()
        .map(|service| {
            let found = files(&root().join(format!("{service}-svc/migrations")), "sql");
            let frames = found.into_iter().filter(|(path, _)| path.to_string_lossy().ends_with("frame.sql"));
            let frames: Vec<String> = frames.map(|(_, text)| text).collect();
            assert_eq!(frames.len(), 2, "{service}");
            frames
                .concat()
                .replace(&format!("{service}."), "SCHEMA.")
                .replace(&format!("tallystick_{service}_app"), "SCHEMA_app")
        })
        .collect();
    assert_eq!(frames.len(), 1);
}

#[test]
fn constraints_are_named_after_their_table_and_every_one_that_code_names_exists() {
    for service in SERVICES {
        let text = migrations(service);
        let mut known = BTreeSet::new();
        for table in tables(service) {
            for part in table.body.split("constraint ").skip(1) {
                let name = part.split_whitespace().next().unwrap();
                assert!(name.starts_with(&table.name), "{name} of {}", table.name);
                let suffix = name.rsplit('_').next().unwrap();
                assert!(["pkey", "key", "fkey", "check", "excl"].contains(&suffix), "{name}");
                assert!(known.insert(name.to_owned()), "{name} twice");
            }
        }
        let _ = text;
        for (path, source) in files(&root().join(format!("{service}-svc/src/store")), "rs") {
            for part in source.split("on constraint ").skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(known.contains(&name), "{name} in {}", path.display());
            }
        }
    }
}

#[test]
fn statements_name_their_schema_and_their_columns() {
    for service in SERVICES {
        for (path, source) in files(&root().join(format!("{service}-svc/src/store")), "rs") {
            assert!(
                !source.contains("select *,") && !source.contains("select * from workspace"),
                "{}",
                path.display()
            );
            for other in SERVICES.into_iter().filter(|other| *other != service) {
                for word in ["from", "into", "update", "join"] {
                    assert!(
                        !source.contains(&format!("{word} {other}.")),
                        "{} reads {other}",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn append_only_tables_are_granted_no_change() {
    let append_only = [
        ("account", "audit_trail"),
        ("settlement", "transfers"),
        ("settlement", "allocations"),
        ("settlement", "payment_claims"),
        ("billing", "bills"),
        ("billing", "bill_lines"),
        ("billing", "account_entries"),
        ("workspace", "sealed_days"),
        ("workspace", "sealed_lines"),
        ("workspace", "usage_records"),
    ];
    for (service, table) in append_only {
        let text = migrations(service);
        let grant = format!("grant select, insert on {service}.{table} to");
        assert!(text.contains(&grant), "{service}.{table}");
        let grants = text.matches(&format!(" on {service}.{table} to")).count();
        assert_eq!(grants, 1, "{service}.{table}");
    }
}
