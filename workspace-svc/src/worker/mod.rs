//! What repeats.

pub mod keep_partitions;
