//! The tables of schema `settlement`.

pub mod any_methods;
pub mod cloud_account_claims;
pub mod ledger_accounts;
pub mod payment_claims;
pub mod settlement_methods;
pub mod settlements;
pub mod subscriptions;
pub mod transfers;
pub mod vouchers;
