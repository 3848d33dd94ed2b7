//! Journeys: ask, load, decide, persist, publish, commit.

mod admit_records;
pub mod bind_workspace;
pub mod change_binding;
pub mod change_retention;
pub mod change_workspace;
pub mod create_workspace;
pub mod drop_partitions;
pub mod fold_usage;
pub mod forget_usage;
pub mod import_day;
mod ingest_known;
pub mod ingest_together;
pub mod ingest_usage;
pub mod judge_standing;
mod kept;
mod known_intakes;
pub mod lock_workspace;
pub mod manage_members;
pub mod query_usage;
pub mod read_usage;
pub mod read_workspaces;
pub mod report_keys;
pub mod report_points;
pub mod retire_account;
pub mod seal_day;
mod seal_workspaces;
pub mod set_sellable_items;
mod sources;
pub mod void_usage;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chassis::civil::UsageDate;
use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::fault;
use chassis::server::Frame;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;

use self::kept::Kept;
use crate::domain::meter::Meters;
use crate::domain::sellable::Sellables;
use crate::peers::accounts::Accounts;
use crate::peers::wallets::Wallets;
use crate::store;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    nudge: Arc<Notify>,
    accounts: Accounts,
    wallets: Wallets,
    meters: Arc<Kept<Meters>>,
    sellables: Arc<Kept<Sellables>>,
    partitions: Arc<Mutex<HashSet<UsageDate>>>,
    queue: Arc<ingest_together::Queue>,
    habit: Arc<ingest_usage::Habit>,
    sources: Arc<sources::Sources>,
    intakes: Arc<known_intakes::KnownIntakes>,
}

impl App {
    pub(crate) fn new(frame: &Frame, accounts: Accounts, wallets: Wallets) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            nudge: Arc::clone(&frame.nudge),
            accounts,
            wallets,
            meters: Arc::default(),
            sellables: Arc::default(),
            partitions: Arc::default(),
            queue: Arc::default(),
            habit: Arc::default(),
            sources: Arc::default(),
            intakes: Arc::default(),
        }
    }

    /// All meters, read again once a minute.
    async fn meters(&self) -> sqlx::Result<Arc<Meters>> {
        match self.meters.get() {
            Ok(meters) => Ok(meters),
            Err(_) => self.meters_over(&mut *self.pool.acquire().await?).await,
        }
    }

    /// The same, for one who has a connection: whoever holds one and waits for another may wait for one who does so too.
    async fn meters_over(&self, connection: &mut PgConnection) -> sqlx::Result<Arc<Meters>> {
        match self.meters.get() {
            Ok(meters) => Ok(meters),
            Err(changes) => Ok(self.meters.put(changes, store::meters::list(connection).await?)),
        }
    }

    /// What the price books sell, read again once a minute.
    async fn sellables(&self) -> sqlx::Result<Arc<Sellables>> {
        match self.sellables.get() {
            Ok(sellables) => Ok(sellables),
            Err(_) => self.sellables_over(&mut *self.pool.acquire().await?).await,
        }
    }

    /// The same, for one who has a connection.
    async fn sellables_over(&self, connection: &mut PgConnection) -> sqlx::Result<Arc<Sellables>> {
        match self.sellables.get() {
            Ok(sellables) => Ok(sellables),
            Err(changes) => Ok(self.sellables.put(changes, store::sellable_items::list(connection).await?)),
        }
    }

    /// Sees to it that the partitions of these days are there: before a transaction needs them, never inside it.
    async fn have_partitions(
        &self,
        connection: &mut PgConnection,
        days: &BTreeSet<UsageDate>,
    ) -> sqlx::Result<()> {
        let missing: Vec<UsageDate> = {
            let known = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
            days.iter().filter(|day| !known.contains(day)).copied().collect()
        };
        for day in missing {
            store::partitions::make(&mut *connection, day).await?;
            fault::point("partition.made");
            self.partitions.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
        }
        Ok(())
    }

    /// Makes the partitions of these days ahead.
    pub(crate) async fn have_partitions_ahead(&self, days: &BTreeSet<UsageDate>) -> sqlx::Result<()> {
        self.have_partitions(&mut *self.pool.acquire().await?, days).await
    }

    /// The clock's billing day.
    pub(crate) fn today(&self) -> UsageDate {
        UsageDate::of(self.clock.now())
    }
}
