//! The program itself: killed anywhere and started again, it ends with one bill, settled once, and the right balances.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod arrangements;
mod kill;
mod load;
mod program;
mod serving;
mod storm;
