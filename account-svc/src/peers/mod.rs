//! Other services, in this service's words.

pub mod workspaces;
