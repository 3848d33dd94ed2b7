//! What is decided, without IO.

pub mod deduction;
pub mod ledger;
pub mod repayment;
pub mod settlement;
pub mod voucher;
