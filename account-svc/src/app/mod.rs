//! Journeys: ask, load, decide, persist, publish, commit.

pub mod create_billing_account;
pub mod read_accounts;
pub mod register;

use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::server::Frame;
use sqlx::PgPool;

use crate::peers::workspaces::Workspaces;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    workspaces: Workspaces,
}

impl App {
    pub(crate) fn new(frame: &Frame, workspaces: Workspaces) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            workspaces,
        }
    }
}
