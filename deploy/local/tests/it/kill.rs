//! `kill -9` at every named point of the demonstration, then start again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::Arc;

use chassis::cluster::Server;
use chassis::scratch::test_server;
use sqlx::Connection as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

const POINTS: [&str; 22] = [
    "demo.prices_loaded",
    "register.console_account",
    "register.billing_account",
    "register.password_hashed",
    "register.password",
    "register.workspace_made",
    "register.workspace",
    "register.bound",
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
        "select count(*) from workspace.sealed_days",
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
