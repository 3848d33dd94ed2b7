//! All four services in one process, over TCP, on one database: what `cargo run` and the whole-system tests start.

pub mod bill_file;
pub mod clients;
pub mod databases;
pub mod demonstration;
pub mod journey;
pub mod load_usage;
pub mod prices;
pub mod screen;
pub mod stack;
pub mod usage_columns;
pub mod usage_file;
