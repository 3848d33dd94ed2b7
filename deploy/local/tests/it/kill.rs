//! `kill -9` at every named point of the demonstration, then start again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::Arc;

use chassis::cluster::Server;
use chassis::scratch::test_server;
use sqlx::Connection as _;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::registration::State;
use tallystick_proto::account::v1::registration_service_client::RegistrationServiceClient;
use tallystick_proto::account::v1::{
    AccountState, BillingAccount, BillingAccountServiceCloseRequest, BillingAccountServiceCreateRequest,
    Registration, RegistrationServiceRegisterRequest,
};
use tallystick_proto::common::v1::{Money, Site, Vendor};
use tallystick_proto::settlement::v1::simulated_marketplace_service_client::SimulatedMarketplaceServiceClient;
use tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient;
use tallystick_proto::settlement::v1::{
    SimulatedMarketplaceServiceSubscribeRequest, WalletServiceTopUpRequest,
};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::serving::Serving;

const POINTS: [&str; 24] = [
    "audit.shipped",
    "demo.prices_loaded",
    "register.console_account",
    "register.billing_account",
    "register.password_hashed",
    "register.password",
    "register.workspace_made",
    "register.workspace",
    "register.bound",
    "register.binding",
    "demo.voucher_granted",
    "top_up.before_commit",
    "top_up.committed",
    "ingest.before_commit",
    "ingest.committed",
    "seal.closed",
    "seal.chunk",
    "run.created",
    "bill.before_commit",
    "bill.committed",
    "relay.before_delivery",
    "settle.committed",
    "relay.after_delivery",
    "bill.settlement_recorded",
];

const SIGKILL: i32 = 9;

async fn play(server: &Server, database: &str, kill_at: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command
        .args(["demo", "--port-base", "0", "--database", database])
        .env("DATABASE_URL", server.admin_url("postgres"))
        .env_remove("TALLYSTICK_KILL_AT");
    if let Some(point) = kill_at {
        command.env("TALLYSTICK_KILL_AT", point);
    }
    command.output().await.unwrap()
}

async fn check(server: &Server, database: &str, point: &str) {
    let mut admin = server.connect(database).await.unwrap();
    let one = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql);
    for sql in [
        "select count(*) from account.console_accounts",
        "select count(*) from account.billing_accounts",
        "select count(*) from account.console_accounts where password_hash is not null",
        "select count(*) from account.billing_accounts where password_hash is not null",
        "select count(*) from workspace.workspaces",
        "select count(*) from workspace.bindings",
        // The day that the workspace was made on is sealed as well, by itself, when a process lives long enough.
        "select count(*) from workspace.sealed_days where usage_date in (select usage_date from billing.bills)",
        "select count(*) from billing.bills",
        "select count(*) from billing.bill_settlements",
        "select count(*) from settlement.settlements",
        "select count(*) from settlement.vouchers",
        "select count(*) from settlement.payment_claims",
    ] {
        assert_eq!(one(sql).fetch_one(&mut admin).await.unwrap(), 1, "killed at {point}: {sql}");
    }
    assert_eq!(
        one("select count(*) from workspace.usage_records").fetch_one(&mut admin).await.unwrap(),
        16,
        "{point}"
    );
    let unbalanced = one(
        "select count(*) from settlement.ledger_accounts a where debits <> coalesce((select sum(amount) \
         from settlement.transfers t where t.debit_account_id = a.ledger_account_id), 0) or credits <> \
         coalesce((select sum(amount) from settlement.transfers t where t.credit_account_id = a.ledger_account_id), 0)",
    );
    assert_eq!(unbalanced.fetch_one(&mut admin).await.unwrap(), 0, "{point}");
    let cash: String = sqlx::query_scalar(
        "select (credits - debits)::numeric(17,2)::text from settlement.ledger_accounts where kind = 'CASH'",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(cash, "96.60", "{point}");
    admin.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_named_point_and_started_again_it_bills_and_settles_once() {
    let server = test_server().await.unwrap();
    let at_once = Arc::new(Semaphore::new(5));
    let mut runs = tokio::task::JoinSet::new();
    for (number, point) in POINTS.into_iter().enumerate() {
        let at_once = Arc::clone(&at_once);
        runs.spawn(async move {
            let _permit = at_once.acquire().await.unwrap();
            let database = format!("killed_{}_{number}", std::process::id());
            let killed = play(server, &database, Some(point)).await;
            assert_eq!(killed.status.signal(), Some(SIGKILL), "{point} was never met: {killed:?}");
            let again = play(server, &database, None).await;
            let said = String::from_utf8_lossy(&again.stdout).into_owned();
            assert!(again.status.success(), "killed at {point}: {said}");
            assert!(said.contains("13.40 CNY"), "killed at {point}: {said}");
            check(server, &database, point).await;
            chassis::scratch::drop_database(server, &database).await.unwrap();
        });
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

/// The steps of a registration that only customers of marketplaces take.
const MARKETPLACE_POINTS: [&str; 4] =
    ["register.cloud_account_bound", "register.cloud_account", "register.activated", "mail.sent"];

/// The steps of a closing.
const CLOSING_POINTS: [&str; 6] = [
    "close.begun",
    "account.retired",
    "close.retired",
    "wallet.before_commit",
    "wallet.closed",
    "close.asked",
];

async fn close_topped_up(serving: &Serving) -> Result<BillingAccount, Status> {
    let mut accounts = BillingAccountServiceClient::new(serving.channel(0));
    let mut wallets = WalletServiceClient::new(serving.channel(3));
    let create = BillingAccountServiceCreateRequest {
        request_id: "01900000-0000-7000-8000-000000000081".to_owned(),
        username: "leaver".to_owned(),
        currency_code: "CNY".to_owned(),
        email: "leaver@example.com".to_owned(),
    };
    let account = accounts.create(serving.request(create)).await?.into_inner().billing_account.unwrap();
    let top_up = WalletServiceTopUpRequest {
        request_id: "01900000-0000-7000-8000-000000000082".to_owned(),
        billing_account_id: account.billing_account_id.clone(),
        amount: Some(Money { amount: "5.00".to_owned(), currency_code: "CNY".to_owned() }),
        provider: "bank".to_owned(),
        reference: "1".to_owned(),
    };
    wallets.top_up(serving.request(top_up)).await?;
    let close = BillingAccountServiceCloseRequest {
        request_id: "01900000-0000-7000-8000-000000000083".to_owned(),
        billing_account_id: account.billing_account_id,
        ticket: "ticket 815".to_owned(),
    };
    Ok(accounts.close(serving.request(close)).await?.into_inner().billing_account.unwrap())
}

/// Closed once, whoever takes it to its end: the repeated call, or the service by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_closing_that_is_killed_at_any_step_ends_closed_once() {
    let server = test_server().await.unwrap();
    let mut runs = tokio::task::JoinSet::new();
    // Each waits most of its time for the claim of the killed process to run out.
    for (number, point) in (0_u16..).zip(CLOSING_POINTS) {
        runs.spawn(kill_closing_at(server, point, 22_700 + number * 20));
    }
    while let Some(run) = runs.join_next().await {
        run.unwrap();
    }
}

async fn kill_closing_at(server: &'static Server, point: &'static str, port_base: u16) {
    let database = format!("closing_{}_{port_base}", std::process::id());
    let mut serving = Serving::start(server, &database, port_base, Some(point)).await;
    close_topped_up(&serving).await.expect_err(point);
    let status = serving.child.wait().await.unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "{point} was never met");
    drop(serving);
    let mut serving = Serving::start(server, &database, port_base, None).await;
    let again = async {
        loop {
            match close_topped_up(&serving).await {
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
                answer => return answer,
            }
        }
    };
    let account = tokio::time::timeout(std::time::Duration::from_secs(60), again).await.unwrap().unwrap();
    assert_eq!(account.state(), AccountState::Closed, "{point}");
    let mut admin = server.connect(&database).await.unwrap();
    for (sql, count) in [
        ("select count(*) from account.billing_accounts where state = 'CLOSED'", 1),
        ("select count(*) from account.billing_accounts where state = 'CLOSING'", 0),
        ("select count(*) from settlement.books where closed_at is not null", 1),
        ("select count(*) from settlement.transfers where code = 'VOID' and amount = 5", 1),
        ("select count(*) from workspace.retired_accounts", 1),
    ] {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
        assert_eq!(found, count, "{point}: {sql}");
    }
    admin.close().await.unwrap();
    serving.child.kill().await.unwrap();
    std::fs::remove_dir_all(&serving.home).unwrap();
    chassis::scratch::drop_database(server, &database).await.unwrap();
}

/// Buys and registers. Every call may be repeated; the one that the process dies in is not answered.
async fn register_from_marketplace(serving: &Serving, landing: &mut String) -> Result<Registration, Status> {
    let mut marketplaces = SimulatedMarketplaceServiceClient::new(serving.channel(3));
    let mut registrations = RegistrationServiceClient::new(serving.channel(0));
    if landing.is_empty() {
        let buy = SimulatedMarketplaceServiceSubscribeRequest {
            vendor: Vendor::AlibabaCloud.into(),
            cloud_account_id: "uid-1".to_owned(),
            instance_id: "i-1".to_owned(),
            currency_code: "CNY".to_owned(),
        };
        *landing = marketplaces.subscribe(serving.request(buy)).await?.into_inner().landing_token;
    }
    let register = RegistrationServiceRegisterRequest {
        request_id: "01900000-0000-7000-8000-000000000077".to_owned(),
        site: Site::Cn1Hangzhou.into(),
        email: "market@example.com".to_owned(),
        username: "market-ltd".to_owned(),
        workspace_name: "Market".to_owned(),
        password: "correct horse battery".to_owned(),
        landing_token: landing.clone(),
        ..Default::default()
    };
    let answer = registrations.register(serving.request(register)).await?;
    Ok(answer.into_inner().registration.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marketplace_registration_that_is_killed_at_any_step_ends_with_one_of_each() {
    let server = test_server().await.unwrap();
    for (number, point) in (0_u16..).zip(MARKETPLACE_POINTS) {
        let database = format!("market_{}_{number}", std::process::id());
        let port_base = 22_600 + number * 20;
        let mut landing = String::new();
        // The demonstration's own mail goes out before: only the marketplace's steps are met while it serves.
        let first = if point == "mail.sent" { None } else { Some(point) };
        let mut serving = Serving::start(server, &database, port_base, first).await;
        let answer = register_from_marketplace(&serving, &mut landing).await;
        match first {
            Some(_) => {
                answer.expect_err(point);
                let status = serving.child.wait().await.unwrap();
                assert_eq!(status.signal(), Some(SIGKILL), "{point} was never met");
            }
            None => drop(answer.unwrap()),
        }
        drop(serving);
        let mut serving = Serving::start(server, &database, port_base, None).await;
        // The keys of landing tokens are new with the process: what began with a token goes on without it.
        let registration = register_from_marketplace(&serving, &mut landing).await.unwrap();
        assert_eq!(registration.state(), State::Complete, "{point}");
        let mut admin = server.connect(&database).await.unwrap();
        for (sql, count) in [
            ("select count(*) from account.registrations where state = 'COMPLETE'", 2),
            ("select count(*) from account.console_accounts", 2),
            ("select count(*) from account.billing_accounts", 2),
            ("select count(*) from workspace.workspaces", 2),
            ("select count(*) from workspace.bindings", 2),
            ("select count(*) from settlement.subscriptions where billing_account_id is not null", 1),
            ("select count(*) from settlement.settlement_methods where cause = 'ACTIVATION'", 1),
            ("select count(*) from account.mails where template = 'WORKSPACE_ACTIVATED'", 2),
        ] {
            let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
            assert_eq!(found, count, "{point}: {sql}");
        }
        admin.close().await.unwrap();
        serving.child.kill().await.unwrap();
        std::fs::remove_dir_all(&serving.home).unwrap();
        chassis::scratch::drop_database(server, &database).await.unwrap();
    }
}
