//! What repeats.

pub mod relay_events;
pub mod run_bills;
pub mod tell_sellables;
