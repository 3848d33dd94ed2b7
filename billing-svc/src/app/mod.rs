//! Journeys: ask, load, decide, persist, publish, commit.

pub mod bill_account_day;
mod judge_standing;
pub mod make_bills;
pub mod publish_price_book;
pub mod quote_usage;
pub mod read_bills;
pub mod record_settlement;
pub mod register_package;
pub mod start_bill_run;
pub mod tell_sellables;

use std::sync::Arc;

use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::server::Frame;
use chassis::standing::Standings;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::peers::sealed_days::SealedDays;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    nudge: Arc<Notify>,
    sealed_days: SealedDays,
    standings: Standings,
}

impl App {
    pub(crate) fn new(frame: &Frame, sealed_days: SealedDays, standings: Standings) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            nudge: Arc::clone(&frame.nudge),
            sealed_days,
            standings,
        }
    }
}
