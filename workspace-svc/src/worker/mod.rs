//! What repeats.

pub mod keep_partitions;
pub mod tell_of_countdowns;
