//! What is decided, without IO.

pub mod billing_account;
pub mod console_account;
pub mod email;
pub mod password;
pub mod registration;
pub mod session;
pub mod username;
