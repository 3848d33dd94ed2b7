//! What is decided, without IO.

pub mod cloud_account;
pub mod deduction;
pub mod ledger;
pub mod repayment;
pub mod settlement;
pub mod settlement_method;
pub mod voucher;
