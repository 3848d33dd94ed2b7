//! Journeys: ask, load, decide, persist, publish, commit.

pub mod bind_cloud_account;
pub mod change_method;
pub mod close_wallet;
pub mod grant_voucher;
pub mod hear_of_subscription;
mod judge_standing;
mod lock_for_arrears;
pub mod open_book;
pub mod read_methods;
pub mod read_wallet;
pub mod settle_bill;
pub mod top_up;

use std::sync::Arc;

use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::server::Frame;
use chassis::standing::Standings;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::peers::billing_accounts::BillingAccounts;
use crate::peers::marketplace::Marketplace;
use crate::peers::packages::Packages;
use crate::peers::workspaces::Workspaces;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    nudge: Arc<Notify>,
    billing_accounts: BillingAccounts,
    workspaces: Workspaces,
    packages: Packages,
    standings: Standings,
    marketplace: Arc<dyn Marketplace>,
}

/// The other services and marketplaces.
pub(crate) struct Peers {
    /// account-svc
    pub billing_accounts: BillingAccounts,
    /// workspace-svc
    pub workspaces: Workspaces,
    /// billing-svc
    pub packages: Packages,
    /// workspace-svc, for rights
    pub standings: Standings,
    /// Every vendor.
    pub marketplace: Arc<dyn Marketplace>,
}

impl App {
    pub(crate) fn new(frame: &Frame, peers: Peers) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            nudge: Arc::clone(&frame.nudge),
            billing_accounts: peers.billing_accounts,
            workspaces: peers.workspaces,
            packages: peers.packages,
            standings: peers.standings,
            marketplace: peers.marketplace,
        }
    }
}
