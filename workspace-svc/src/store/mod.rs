//! The tables of schema `workspace`.

pub mod bindings;
pub mod closures;
pub mod day_fences;
pub mod forgotten_days;
pub mod hourly_usage;
pub mod late_usage;
pub mod members;
pub mod meters;
pub mod partitions;
pub mod retention_policies;
pub mod retired_accounts;
pub mod seal_failures;
pub mod sealed_days;
pub mod sellable_items;
pub mod trial_usage;
pub mod usage_deltas;
pub mod usage_keys;
pub mod usage_of_workspace;
pub mod usage_points;
pub mod usage_records;
pub mod usage_sources;
pub mod usage_suspects;
pub mod usage_voids;
pub mod workspaces;
