//! WHO: console accounts (identity: e-mail), billing accounts (identity: user name), and the registrations that make them.
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

/// The migrations of schema `account`.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// This service.
pub const SERVICE: Service = Service { name: "account-svc", schema: Schema("account"), migrator: &MIGRATOR };

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
    let secret = config.session_secret.clone().context("SESSION_SECRET is not set")?;
    let mail = config.mail.as_ref().context("SMTP_URL and MAIL_FROM are not set")?;
    let mailer = peers::mailer::Mailer::new(mail)?;
    let settlement = config.peers.settlement.as_deref().context("SETTLEMENT_ADDR is not set")?;
    let settlement = chassis::peer::channel(settlement, "settlement-svc", config.signer.clone())?;
    let billing = config.peers.billing.as_deref().context("BILLING_ADDR is not set")?;
    let billing = chassis::peer::channel(billing, "billing-svc", config.signer.clone())?;
    let workspaces = peers::workspaces::Workspaces::new(workspace);
    let bills = peers::bills::Bills::new(billing);
    let peers = (workspaces, bills, peers::settlements::Settlements::new(settlement));
    let app = app::App::new(&frame, peers, mailer, secret);
    worker::resume_registrations::start(&frame, app.clone());
    worker::resume_closings::start(&frame, app.clone());
    worker::keep_own_audit::start(&frame, app.clone());
    worker::keep_session_keys::start(&frame, app.clone());
    worker::prune_sessions::start(&frame, app.clone());
    worker::send_mails::start(&frame, app.clone());
    let trust = Trust { keys: Arc::new(app.clone()), guard: Arc::new(app.clone()) };
    let work = app::show_work::sources(&app);
    let routes = api::routes(app);
    frame.with_work(work).serve(&config, listener, routes, trust).await
}
