//! Other services, in this service's words.

pub mod bills;
pub mod mailer;
pub mod settlements;
pub mod workspaces;
