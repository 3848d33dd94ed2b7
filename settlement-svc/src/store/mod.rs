//! The tables of schema `settlement`.

pub mod ledger_accounts;
pub mod payment_claims;
pub mod settlements;
pub mod transfers;
pub mod vouchers;
