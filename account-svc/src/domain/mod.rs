//! What is decided, without IO.

pub mod account_state;
pub mod billing_account;
pub mod code;
pub mod console_account;
pub mod email;
pub mod mail;
pub mod password;
pub mod phone;
pub mod registration;
pub mod session;
pub mod username;
