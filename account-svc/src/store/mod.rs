//! The tables of schema `account`.

pub mod billing_accounts;
pub mod console_accounts;
pub mod credentials;
pub mod registrations;
pub mod session_keys;
pub mod sessions;
