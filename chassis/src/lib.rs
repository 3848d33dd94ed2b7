//! The frame that all four services share. Admitted here is only what at least two services need and what carries no noun of
//! the business, with one exception: the shared values `id`, `money`, `site` and `civil`, because two different ideas of money would
//! be the fault that this system exists to avoid.
//!
//! In reading order: values, then what a call passes through, then what a service stands on.

pub mod civil;
pub mod id;
pub mod money;
pub mod site;
pub mod wire;

pub mod audit;
pub mod auth;
pub mod failure;
pub mod guard;
pub mod layer;
pub mod page;
pub mod status;
pub mod user;

pub mod clock;
pub mod db;
pub mod fault;
mod gather;
pub mod idempotency;
mod nodelay;
pub mod outbox;
pub mod peer;
pub mod standing;
pub mod work;
pub mod worker;

pub mod cli;
pub mod config;
pub mod health;
pub mod notifications;
pub mod ops;
pub mod server;
pub mod shutdown;
pub mod telemetry;

#[cfg(feature = "harness")]
pub mod cluster;
#[cfg(feature = "harness")]
pub mod scratch;
