//! What is decided, without IO.

pub mod binding;
pub mod daily_usage;
pub mod meter;
pub mod retention;
pub mod sealed_day;
pub mod usage_point;
pub mod usage_record;
pub mod workspace;
