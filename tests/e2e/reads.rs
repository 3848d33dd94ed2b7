//! Everything that was written can be read back, by id; what is not there is NOT_FOUND.

use chassis::status::reason_of;
use chassis::wire::date;
use tallystick_proto::account::v1::{
    BillingAccountServiceCreateRequest, BillingAccountServiceGetRequest, ConsoleAccountServiceGetRequest,
};
use tallystick_proto::billing::v1::bill_run::State;
use tallystick_proto::billing::v1::{
    BillRunServiceCancelRequest, BillRunServiceGetRequest, BillRunServiceListFailuresRequest,
    BillRunServiceListRequest, PriceBookServiceGetRequest,
};
use tallystick_proto::common::v1::SiteClass;
use tallystick_proto::settlement::v1::{
    SettlementServiceGetRequest, WalletServiceGetBalanceRequest, WalletServiceListEntriesRequest,
};
use tallystick_proto::workspace::v1::usage_service_stream_sealed_days_response::Part;
use tallystick_proto::workspace::v1::{
    BindingServiceGetRequest, BindingServiceListRequest, UsageServiceStreamSealedDaysRequest,
    WorkspaceServiceGetRequest,
};
use tests::{World, cny};
use uuid::Uuid;

/// The reason of a call that must be refused.
macro_rules! refused {
    ($call:expr) => {
        reason_of(&$call.await.unwrap_err()).unwrap()
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_back_by_id() {
    let world = World::new().await.unwrap();
    let played = local::demonstration::play(&world.clients).await.unwrap();
    let ids = &played.registration;
    let c = &world.clients;
    let get = ConsoleAccountServiceGetRequest { console_account_id: ids.console_account_id.clone() };
    let console = c.console_accounts.clone().get(get).await.unwrap().into_inner().console_account.unwrap();
    assert_eq!(console.email, "ann@example.com");
    let get = BillingAccountServiceGetRequest { billing_account_id: ids.billing_account_id.clone() };
    let payer = c.billing_accounts.clone().get(get).await.unwrap().into_inner().billing_account.unwrap();
    assert_eq!((payer.username.as_str(), payer.currency_code.as_str()), ("example-ltd", "CNY"));
    let get = PriceBookServiceGetRequest {
        currency_code: "USD".into(),
        site_class: SiteClass::Overseas.into(),
        usage_date: Some(date("2024-12-01".parse().unwrap())),
    };
    let book = c.price_books.clone().get(get).await.unwrap().into_inner();
    let trace =
        book.entries.iter().find(|entry| entry.item == "trace" && entry.retention_days == 60).unwrap();
    assert_eq!(trace.unit_price, "9.26", "the price of the third generation");

    let request =
        UsageServiceStreamSealedDaysRequest { usage_date: Some(date(played.day)), ..Default::default() };
    let mut stream = c.usage.clone().stream_sealed_days(request).await.unwrap().into_inner();
    let Some(Part::Manifest(manifest)) = stream.message().await.unwrap().unwrap().part else {
        panic!("no manifest")
    };
    assert_eq!(manifest.workspace_count, 1);
    let Some(Part::SealedDay(sealed)) = stream.message().await.unwrap().unwrap().part else {
        panic!("no sealed day")
    };
    assert_eq!(
        (sealed.billing_account_id.as_str(), sealed.lines.len()),
        (ids.billing_account_id.as_str(), 5)
    );
    assert!(stream.message().await.unwrap().is_none());

    let request = WalletServiceListEntriesRequest {
        billing_account_id: ids.billing_account_id.clone(),
        ..Default::default()
    };
    let entries = c.wallets.clone().list_entries(request).await.unwrap().into_inner().entries;
    let told: Vec<_> = entries
        .iter()
        .map(|e| {
            (e.code.as_str(), e.debit_account.as_str(), e.credit_account.as_str(), e.amount.clone().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("VOUCHER_GRANT", "PROMOTION", "VOUCHER", cny("10.00")),
            ("TOP_UP", "FUNDING", "CASH", cny("100.00")),
            ("BILL", "VOUCHER", "INCOME", cny("10.00")),
            ("BILL", "CASH", "INCOME", cny("3.40")),
        ]
    );
    assert!(entries[2].reason_id == played.bill_id && entries[0].reason_id.starts_with("vchr_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let world = World::without_prices().await.unwrap();
    let c = &world.clients;
    let id = |prefix: &str| format!("{prefix}{}", Uuid::from_u128(1));
    let get = ConsoleAccountServiceGetRequest { console_account_id: id("acnt_") };
    assert_eq!(refused!(c.console_accounts.clone().get(get)), "OBJECT_NOT_FOUND");
    let get = BillingAccountServiceGetRequest { billing_account_id: id("bacc_") };
    assert_eq!(refused!(c.billing_accounts.clone().get(get)), "OBJECT_NOT_FOUND");
    let get = WorkspaceServiceGetRequest { workspace_id: id("wksp_") };
    assert_eq!(refused!(c.workspaces.clone().get(get)), "OBJECT_NOT_FOUND");
    let get = BindingServiceGetRequest { workspace_id: id("wksp_") };
    assert_eq!(refused!(c.bindings.clone().get(get)), "OBJECT_NOT_FOUND");
    let list = BindingServiceListRequest { workspace_id: id("wksp_"), ..Default::default() };
    assert_eq!(refused!(c.bindings.clone().list(list)), "OBJECT_NOT_FOUND");
    let get = BillRunServiceGetRequest { run_id: id("run_") };
    assert_eq!(refused!(c.bill_runs.clone().get(get)), "OBJECT_NOT_FOUND");
    let list = BillRunServiceListFailuresRequest { run_id: id("run_"), ..Default::default() };
    assert_eq!(refused!(c.bill_runs.clone().list_failures(list)), "OBJECT_NOT_FOUND");
    let cancel = BillRunServiceCancelRequest { run_id: id("run_") };
    assert_eq!(refused!(c.bill_runs.clone().cancel(cancel)), "OBJECT_NOT_FOUND");
    let get = PriceBookServiceGetRequest {
        currency_code: "CNY".into(),
        site_class: SiteClass::China.into(),
        usage_date: Some(date("2024-12-01".parse().unwrap())),
    };
    assert_eq!(refused!(c.price_books.clone().get(get)), "OBJECT_NOT_FOUND");
    let get = SettlementServiceGetRequest { billing_account_id: id("bacc_"), bill_id: id("bill_") };
    assert_eq!(refused!(c.settlements.clone().get(get)), "OBJECT_NOT_FOUND");
    let get = WalletServiceGetBalanceRequest { billing_account_id: id("bacc_") };
    assert_eq!(refused!(c.wallets.clone().get_balance(get)), "OBJECT_NOT_FOUND");
    let request = UsageServiceStreamSealedDaysRequest {
        usage_date: Some(date("2026-01-01".parse().unwrap())),
        ..Default::default()
    };
    assert_eq!(refused!(c.usage.clone().stream_sealed_days(request)), "DAY_NOT_SEALED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_is_taken_in_any_case() {
    let world = World::without_prices().await.unwrap();
    world.journey("first").register().await.unwrap();
    let create = BillingAccountServiceCreateRequest {
        request_id: Uuid::from_u128(9).to_string(),
        username: "FIRST-ltd".into(),
        currency_code: "USD".into(),
        email: String::new(),
    };
    assert_eq!(refused!(world.clients.billing_accounts.clone().create(create)), "USERNAME_TAKEN");
}

/// A run that cannot end is cancelled by an operator; one that has ended cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_until_it_has_ended() {
    let world = World::new().await.unwrap();
    local::demonstration::play(&world.clients).await.unwrap();
    let runs = world
        .clients
        .bill_runs
        .clone()
        .list(BillRunServiceListRequest::default())
        .await
        .unwrap()
        .into_inner();
    let cancel = BillRunServiceCancelRequest { run_id: runs.bill_runs[0].run_id.clone() };
    assert_eq!(refused!(world.clients.bill_runs.clone().cancel(cancel)), "RUN_FINISHED");
    let stuck = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    sqlx::query(
        "insert into billing.bill_runs (run_id, usage_date, state, workspace_count, trace_context, created_at) \
         values ($1, '2026-01-01', 'PENDING', 1, '', now())",
    )
    .bind(stuck)
    .execute(&mut world.scratch.admin().await.unwrap())
    .await
    .unwrap();
    let cancel = || BillRunServiceCancelRequest { run_id: format!("run_{stuck}") };
    for _ in 0..2 {
        let run =
            world.clients.bill_runs.clone().cancel(cancel()).await.unwrap().into_inner().bill_run.unwrap();
        assert_eq!(run.state(), State::Cancelled, "cancelling again changes nothing");
    }
}
