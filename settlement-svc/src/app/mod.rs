//! Journeys: ask, load, decide, persist, publish, commit.

pub mod grant_voucher;
pub mod open_book;
pub mod read_wallet;
pub mod settle_bill;
pub mod top_up;

use std::sync::Arc;

use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::server::Frame;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::peers::billing_accounts::BillingAccounts;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    nudge: Arc<Notify>,
    billing_accounts: BillingAccounts,
}

impl App {
    pub(crate) fn new(frame: &Frame, billing_accounts: BillingAccounts) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            nudge: Arc::clone(&frame.nudge),
            billing_accounts,
        }
    }
}
