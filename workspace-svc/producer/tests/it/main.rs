//! The producer against a service that breaks in every way, over TCP.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod fake;
mod killed;
mod stories;
