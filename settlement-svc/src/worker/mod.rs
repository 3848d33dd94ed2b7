//! What repeats.

pub mod relay_events;
