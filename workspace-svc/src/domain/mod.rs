//! What is decided, without IO.

pub mod binding;
pub mod closure;
pub mod daily_usage;
pub mod lock;
pub mod member;
pub mod meter;
pub mod retention;
pub mod seal_failure;
pub mod sealed_day;
pub mod sellable;
pub mod trial;
pub mod usage_key;
pub mod usage_period;
pub mod usage_point;
pub mod usage_record;
pub mod workspace;
