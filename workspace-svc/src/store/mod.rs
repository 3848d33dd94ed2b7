//! The tables of schema `workspace`.

pub mod bindings;
pub mod day_fences;
pub mod meters;
pub mod partitions;
pub mod retention_policies;
pub mod sealed_days;
pub mod usage_points;
pub mod usage_records;
pub mod usage_sources;
pub mod workspaces;
