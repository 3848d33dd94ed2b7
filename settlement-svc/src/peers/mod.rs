//! Other services and marketplaces, in this service's words.

pub mod billing_accounts;
pub mod bills;
pub mod marketplace;
pub mod notifications;
pub mod packages;
pub mod workspaces;
