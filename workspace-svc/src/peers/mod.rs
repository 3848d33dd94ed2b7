//! Other services, in this service's words.

pub mod accounts;
pub mod wallets;
