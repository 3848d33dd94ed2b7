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
    // Before anything is opened: a service that cannot mail its codes lets nobody in.
    let mail = config.mail.as_ref().context("SMTP_URL and MAIL_FROM are not set")?;
    let mailer = peers::mailer::Mailer::new(mail)?;
    let frame = Frame::open(SERVICE, &config, clock, draining).await?;
    let workspace = config.peers.workspace.as_deref().context("WORKSPACE_ADDR is not set")?;
    let workspace = chassis::peer::channel(workspace, "workspace-svc", config.signer.clone())?;
    let secret = config.session_secret.clone().context("SESSION_SECRET is not set")?;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chassis::auth::Signer;
    use chassis::config::{Mail, PeerAddresses};
    use secrecy::SecretString;

    use super::*;

    async fn refusal(mail: Option<Mail>) -> String {
        let config = Config {
            database_url: SecretString::from("postgres://nobody@127.0.0.1:1/nothing"),
            database_connections_max: 1,
            trusted_keys: Vec::new(),
            signer: Signer::new("key", "account-svc", &Signer::generate_secret().unwrap()).unwrap(),
            session_secret: Some(SecretString::from(Signer::generate_secret().unwrap())),
            mail,
            peers: PeerAddresses { account: None, workspace: None, billing: None, settlement: None },
            drain_delay: Duration::ZERO,
            calls_in_flight_max: 1,
            workers_paused: Vec::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = serve(config, Clock::system(), listener, CancellationToken::new()).await;
        format!("{:#}", served.expect_err("it does not start"))
    }

    #[tokio::test]
    async fn nothing_starts_without_a_mail_server() {
        assert_eq!(refusal(None).await, "SMTP_URL and MAIL_FROM are not set");
        let from = "Tallystick <no-reply@example.com>".to_owned();
        let broken = Mail::Smtp { url: SecretString::from("gopher://mail"), from };
        assert!(refusal(Some(broken)).await.contains("SMTP_URL"));
    }
}
