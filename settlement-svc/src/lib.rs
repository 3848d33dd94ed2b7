//! HOW IT IS PAID: a double-entry ledger with one closed book per billing account, deduction in order, each bill settled once.
//! In reading order: what is decided, what is kept, who is asked, how a journey goes, what repeats, what is answered.

mod api;
pub mod app;
pub mod domain;
mod peers;
mod store;
mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use chassis::clock::Clock;
use chassis::config::Config;
use chassis::db::Schema;
use chassis::server::{Frame, Service, Trust};
use chassis::standing::Standings;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The migrations of schema `settlement`.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// This service.
pub const SERVICE: Service =
    Service { name: "settlement-svc", schema: Schema("settlement"), migrator: &MIGRATOR };

/// Serves until `draining` is cancelled, and then until it has drained.
pub async fn serve(
    config: Config,
    clock: Clock,
    listener: TcpListener,
    draining: CancellationToken,
) -> anyhow::Result<()> {
    let frame = Frame::open(SERVICE, &config, clock, draining).await?;
    let account = config.peers.account.as_deref().context("ACCOUNT_ADDR is not set")?;
    let account = chassis::peer::channel(account, "account-svc", config.signer.clone())?;
    frame.spawn_audit(chassis::audit::ship_over(account.clone()));
    let billing = config.peers.billing.as_deref().context("BILLING_ADDR is not set")?;
    let billing = chassis::peer::channel(billing, "billing-svc", config.signer.clone())?;
    let workspace = config.peers.workspace.as_deref().context("WORKSPACE_ADDR is not set")?;
    let workspace = chassis::peer::channel(workspace, "workspace-svc", config.signer.clone())?;
    let workspaces = peers::workspaces::Workspaces::new(workspace.clone());
    let peers = app::Peers {
        billing_accounts: peers::billing_accounts::BillingAccounts::new(account.clone()),
        workspaces: workspaces.clone(),
        packages: peers::packages::Packages::new(billing.clone()),
        standings: Standings::new(workspace),
        marketplace: Arc::new(peers::marketplace::simulated::Simulated::new(config.signer.clone())),
    };
    let app = app::App::new(&frame, peers);
    let keys = chassis::peer::PublishedKeys::new(account.clone());
    let trust = Trust { keys: Arc::new(keys), guard: Arc::new(app.clone()) };
    worker::relay_events::start(&frame, peers::bills::Bills::new(billing), workspaces, account);
    let routes = api::routes(app);
    frame.serve(&config, listener, routes, trust).await
}
