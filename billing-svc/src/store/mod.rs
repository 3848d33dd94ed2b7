//! The tables of schema `billing`.

pub mod bill_runs;
pub mod bill_settlements;
pub mod bills;
pub mod packages;
pub mod price_books;
