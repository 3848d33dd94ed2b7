//! What is decided, without IO.

pub mod bill;
pub mod bill_run;
pub mod package;
pub mod price_book;
pub mod rating;
pub mod sealed_day;
