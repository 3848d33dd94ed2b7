//! Stories of the whole system, each in a world of its own.

// Tests may be direct.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

mod access;
mod arrears;
mod audit;
mod bad_input;
mod bindings;
mod breaches;
mod closing;
mod cloud_accounts;
mod codes;
mod constraints;
mod contract;
mod forgetting;
mod idempotency;
mod ingest_known;
mod ingest_together;
mod mails;
mod methods;
mod pages;
mod price_books;
mod profiles;
mod reads;
mod registration;
mod rights;
mod schema_walls;
mod seal_failures;
mod seal_under_ingest;
mod service_behaviour;
mod sessions;
mod settlement;
mod trace;
mod trials;
mod usage_corrections;
mod usage_meters;
mod usage_over_time;
mod usage_to_bill;
mod work;
mod workspaces;
