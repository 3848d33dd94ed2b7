//! Other services, in this service's words.

pub mod billing_accounts;
pub mod bills;
