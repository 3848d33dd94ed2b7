//! The tables of schema `account`.

pub mod billing_accounts;
pub mod console_accounts;
pub mod registrations;
