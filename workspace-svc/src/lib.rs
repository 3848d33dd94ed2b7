//! WHAT WAS USED: workspaces, who pays for them, how long they keep data, usage counted exactly once, and sealed days.
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
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The migrations of schema `workspace`.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// This service.
pub const SERVICE: Service =
    Service { name: "workspace-svc", schema: Schema("workspace"), migrator: &MIGRATOR };

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
    let settlement = config.peers.settlement.as_deref().context("SETTLEMENT_ADDR is not set")?;
    let settlement = chassis::peer::channel(settlement, "settlement-svc", config.signer.clone())?;
    frame.spawn_audit(chassis::audit::ship_over(account.clone()));
    let accounts = peers::accounts::Accounts::new(account.clone());
    let app = app::App::new(&frame, accounts, peers::wallets::Wallets::new(settlement));
    let keys = chassis::peer::PublishedKeys::new(account.clone());
    let trust = Trust { keys: Arc::new(keys), guard: Arc::new(app.clone()) };
    worker::fold_usage::start(&frame, app.clone());
    worker::forget_usage::start(&frame, app.clone());
    worker::keep_partitions::start(&frame, app.clone());
    worker::seal_days::start(&frame, app.clone());
    worker::tell_of_countdowns::start(&frame, app.clone(), account);
    let routes = api::routes(app, frame.draining.clone());
    frame.serve(&config, listener, routes, trust).await
}
