//! Other services, in this service's words.

pub mod notifications;
pub mod sealed_days;
pub mod sellables;
pub mod settlements;
