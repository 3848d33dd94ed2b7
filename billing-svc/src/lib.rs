//! WHAT IT COSTS: price books by billing day, bill runs, bills that are issued once and never changed.
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

/// The migrations of schema `billing`.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// This service.
pub const SERVICE: Service = Service { name: "billing-svc", schema: Schema("billing"), migrator: &MIGRATOR };

/// All published prices of the three generations, in the columns that its first line names; an empty retention is an item with
/// one price, an empty end is a price that still holds.
pub const PRICE_BOOKS_CSV: &str = include_str!("../data/price-books.csv");

/// Serves until `draining` is cancelled, and then until it has drained.
pub async fn serve(
    config: Config,
    clock: Clock,
    listener: TcpListener,
    draining: CancellationToken,
) -> anyhow::Result<()> {
    let frame = Frame::open(SERVICE, &config, clock, draining).await?;
    let workspace = config.peers.workspace.as_deref().context("WORKSPACE_ADDR is not set")?;
    let workspace = chassis::peer::channel(workspace, "workspace-svc", config.signer.clone())?;
    let settlement = config.peers.settlement.as_deref().context("SETTLEMENT_ADDR is not set")?;
    let settlement = chassis::peer::channel(settlement, "settlement-svc", config.signer.clone())?;
    let account = config.peers.account.as_deref().context("ACCOUNT_ADDR is not set")?;
    let account = chassis::peer::channel(account, "account-svc", config.signer.clone())?;
    frame.spawn_audit(chassis::audit::ship_over(account.clone()));
    let sealed_days = peers::sealed_days::SealedDays::new(workspace.clone());
    let sellables = peers::sellables::Sellables::new(workspace.clone());
    let app = app::App::new(&frame, sealed_days, chassis::standing::Standings::new(workspace));
    let keys = chassis::peer::PublishedKeys::new(account.clone());
    let trust = Trust { keys: Arc::new(keys), guard: Arc::new(app.clone()) };
    worker::run_bills::start(&frame, app.clone());
    worker::tell_sellables::start(&frame, app.clone());
    let settlements = peers::settlements::Settlements::new(settlement);
    worker::relay_events::start(&frame, settlements, sellables, account);
    let routes = api::routes(app);
    frame.serve(&config, listener, routes, trust).await
}
