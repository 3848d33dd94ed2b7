//! A repeated request gets the first answer and changes nothing; the same request id with another body is refused.

use chassis::idempotency::REPLAY_HEADER;
use chassis::status::reason_of;
use chassis::wire::date;
use tallystick_proto::account::v1::BillingAccountServiceCreateRequest;
use tallystick_proto::billing::v1::{
    BillRunServiceCreateRequest, PriceBookServicePublishRequest, PriceEntry,
};
use tallystick_proto::common::v1::SiteClass;
use tallystick_proto::google::r#type::Date;
use tallystick_proto::settlement::v1::{WalletServiceGrantVoucherRequest, WalletServiceTopUpRequest};
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, WorkspaceServiceCreateRequest, WorkspaceServiceSetRetentionRequest,
};
use tests::{World, cny};
use time::Duration;
use uuid::Uuid;

/// First, again, and again with another body.
macro_rules! replays {
    ($world:expr, $client:expr, $method:ident, $request:expr, $change:expr) => {{
        let request = $request;
        let first = $client.clone().$method(request.clone()).await.unwrap();
        assert!(first.metadata().get(REPLAY_HEADER).is_none());
        let dump = $world.dump().await.unwrap();
        let again = $client.clone().$method(request.clone()).await.unwrap();
        assert_eq!(again.metadata().get(REPLAY_HEADER).unwrap(), "true", stringify!($method));
        assert_eq!(again.get_ref(), first.get_ref(), stringify!($method));
        let mut other = request;
        #[allow(clippy::redundant_closure_call)]
        ($change)(&mut other);
        let refused = $client.clone().$method(other).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("REQUEST_ID_REUSED"), stringify!($method));
        assert_eq!($world.dump().await.unwrap(), dump, stringify!($method));
        first.into_inner()
    }};
}

fn id(number: u128) -> String {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_returns_the_first_answer_and_a_reused_request_id_is_refused() {
    let world = World::new().await.unwrap();
    let customer = world.customer("replays").await.unwrap();
    let c = &world.clients;
    let account = BillingAccountServiceCreateRequest {
        request_id: id(1),
        username: "second-payer".into(),
        currency_code: "CNY".into(),
        email: String::new(),
    };
    type Account = BillingAccountServiceCreateRequest;
    let payer = replays!(world, c.billing_accounts, create, account, |r: &mut Account| r.currency_code =
        "USD".into());
    let payer = payer.billing_account.unwrap().billing_account_id;
    let workspace = WorkspaceServiceCreateRequest {
        language: 0,
        request_id: id(2),
        owner_console_account_id: customer.registration.console_account_id.clone(),
        name: "Second".into(),
        site: 1,
    };
    type Workspace = WorkspaceServiceCreateRequest;
    let workspace = replays!(world, c.workspaces, create, workspace, |r: &mut Workspace| r.site = 2);
    let workspace_id = workspace.workspace.unwrap().workspace_id;
    let bind = BindingServiceBindRequest {
        billing_account_code: None,
        request_id: id(3),
        workspace_id: workspace_id.clone(),
        billing_account_id: payer.clone(),
    };
    let other = customer.payer().to_owned();
    replays!(world, c.bindings, bind, bind, |r: &mut BindingServiceBindRequest| r.billing_account_id = other);
    let retention = WorkspaceServiceSetRetentionRequest {
        request_id: id(4),
        workspace_id,
        data_type: 2,
        dimension: "audit".into(),
        days: 60,
    };
    type Retention = WorkspaceServiceSetRetentionRequest;
    replays!(world, c.workspaces, set_retention, retention, |r: &mut Retention| r.days = 30);
    let top_up = WalletServiceTopUpRequest {
        request_id: id(5),
        billing_account_id: payer.clone(),
        amount: Some(cny("12.34")),
        provider: "alipay".into(),
        reference: "20261124".into(),
    };
    type TopUp = WalletServiceTopUpRequest;
    replays!(world, c.wallets, top_up, top_up, |r: &mut TopUp| r.amount = Some(cny("12.35")));
    let voucher = WalletServiceGrantVoucherRequest {
        request_id: id(6),
        billing_account_id: payer.clone(),
        face_value: Some(cny("3.00")),
        last_date: Some(date(customer.day)),
        grant_reason: "welcome".into(),
    };
    type Voucher = WalletServiceGrantVoucherRequest;
    replays!(world, c.wallets, grant_voucher, voucher, |r: &mut Voucher| r.grant_reason = "other".into());
    let balance = world.journey("reader").balance(&payer).await.unwrap();
    assert_eq!((balance.cash, balance.vouchers), (Some(cny("12.34")), Some(cny("3.00"))));
    later(&world, &customer).await;
    world.reconcile().await.unwrap();
}

async fn later(world: &World, customer: &tests::Settled) {
    let entry = PriceEntry {
        item: "new_item".into(),
        retention_days: 0,
        unit_size: "1".into(),
        unit_of: "thing".into(),
        unit_price: "0.5".into(),
        start_date: Some(Date { year: 2035, month: 1, day: 1 }),
        end_date: None,
    };
    let publish = PriceBookServicePublishRequest {
        request_id: id(7),
        currency_code: "USD".into(),
        site_class: SiteClass::Overseas.into(),
        entries: vec![entry],
    };
    type Publish = PriceBookServicePublishRequest;
    let book = replays!(world, world.clients.price_books, publish, publish, |r: &mut Publish| r.entries[0]
        .item =
        "x".into());
    assert_eq!(book.price_book.unwrap().version, 2);
    world.clients.advance_to(customer.day.end() + Duration::minutes(65)).await.unwrap();
    customer.journey.seal(customer.day).await.unwrap();
    customer.journey.run_bills(customer.day).await.unwrap();
    world.quiet().await.unwrap();
    let run = BillRunServiceCreateRequest { request_id: id(8), usage_date: Some(date(customer.day)) };
    let mut first = world.clients.bill_runs.clone().create(run.clone()).await.unwrap().into_inner();
    let again = world.clients.bill_runs.clone().create(run).await.unwrap();
    assert_eq!(again.metadata().get(REPLAY_HEADER).unwrap(), "true");
    assert_eq!(again.into_inner().bill_run.take(), first.bill_run.take());
}

/// 32 calls with one request id: one takes effect, all get its answer.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_race_with_one_request_id_get_one_effect() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("racer").await.unwrap();
    let request = WalletServiceTopUpRequest {
        request_id: id(9),
        billing_account_id: customer.payer().to_owned(),
        amount: Some(cny("1.00")),
        provider: "bank".into(),
        reference: "race".into(),
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (mut wallets, request) = (world.clients.wallets.clone(), request.clone());
        calls.spawn(async move { wallets.top_up(request).await.unwrap().into_inner() });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(customer.journey.balance(customer.payer()).await.unwrap().cash, Some(cny("1.00")));
    world.reconcile().await.unwrap();
}

/// Two accounts race for one payment: one is credited, the other told.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_credited_once_whoever_asks() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("payment").await.unwrap();
    let create = BillingAccountServiceCreateRequest {
        request_id: id(10),
        username: "rival".into(),
        currency_code: "CNY".into(),
        email: String::new(),
    };
    let rival = world
        .clients
        .billing_accounts
        .clone()
        .create(create)
        .await
        .unwrap()
        .into_inner()
        .billing_account
        .unwrap();
    let mut credited = 0;
    for round in 0..20_u128 {
        let mut calls = tokio::task::JoinSet::new();
        for (place, payer) in
            [customer.payer().to_owned(), rival.billing_account_id.clone()].into_iter().enumerate()
        {
            let request = WalletServiceTopUpRequest {
                request_id: id(100 + round * 2 + place as u128),
                billing_account_id: payer,
                amount: Some(cny("1.00")),
                provider: "bank".into(),
                reference: format!("payment-{round}"),
            };
            let mut wallets = world.clients.wallets.clone();
            calls.spawn(async move { wallets.top_up(request).await });
        }
        let answers = calls.join_all().await;
        credited += answers.iter().filter(|answer| answer.is_ok()).count();
        for status in answers.into_iter().filter_map(Result::err) {
            assert_eq!(reason_of(&status).as_deref(), Some("PAYMENT_REFERENCE_TAKEN"));
        }
    }
    assert_eq!(credited, 20);
    world.reconcile().await.unwrap();
}
