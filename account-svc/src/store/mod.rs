//! The tables of schema `account`.

pub mod audit_trail;
pub mod billing_accounts;
pub mod challenges;
pub mod code_limits;
pub mod console_accounts;
pub mod credentials;
pub mod mails;
pub mod registrations;
pub mod requests;
pub mod session_keys;
pub mod sessions;
