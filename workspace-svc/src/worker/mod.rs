//! What repeats.

pub mod fold_usage;
pub mod forget_usage;
pub mod keep_partitions;
pub mod seal_days;
pub mod tell_of_countdowns;
