//! Bad input gets a clear, typed error and changes nothing: a dump of every business table before and after is equal.

use chassis::status::reason_of;
use chassis::wire::{date, timestamp};
use tallystick_proto::account::v1::RegistrationServiceRegisterRequest;
use tallystick_proto::billing::v1::{
    BillRunServiceCreateRequest, BillServiceGetRequest, PriceBookServicePublishRequest,
    PriceBookServiceQuoteRequest, PriceEntry, QuoteQuantity,
};
use tallystick_proto::common::v1::{ErrorReason, Money, SiteClass};
use tallystick_proto::google::r#type::Date;
use tallystick_proto::settlement::v1::{WalletServiceGrantVoucherRequest, WalletServiceTopUpRequest};
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, UsageRecord, UsageServiceIngestBatchRequest, UsageServiceQueryRequest,
    UsageServiceReportPointsRequest, UsageServiceSealDayRequest, WorkspaceServiceSetRetentionRequest,
};
use tests::{Settled, World};
use time::Duration;
use tonic::{Code, Status};
use uuid::Uuid;

const NOBODY: &str = "wksp_01900000-0000-7000-8000-000000000000";

struct Case {
    name: String,
    status: Result<(), Status>,
    code: Code,
    reason: &'static str,
}

struct Cases(Vec<Case>);

impl Cases {
    fn add<T>(&mut self, name: &str, answer: Result<T, Status>, code: Code, reason: &'static str) {
        self.0.push(Case { name: name.to_owned(), status: answer.map(drop), code, reason });
    }

    fn check(&self) {
        for case in &self.0 {
            let Err(status) = &case.status else { panic!("{} was accepted", case.name) };
            assert_eq!(status.code(), case.code, "{}: {status:?}", case.name);
            assert_eq!(reason_of(status).as_deref(), Some(case.reason), "{}: {status:?}", case.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_are_refused_with_code_and_reason_and_change_nothing() {
    let world = World::new().await.unwrap();
    let customer = world.customer("good").await.unwrap();
    customer.journey.top_up(customer.payer(), tests::cny("5.00")).await.unwrap();
    let dump = world.dump().await.unwrap();
    let mut cases = Cases(Vec::new());
    bad_accounts(&world, &mut cases).await;
    bad_money(&world, &customer, &mut cases).await;
    bad_workspaces(&world, &customer, &mut cases).await;
    bad_billing(&world, &mut cases).await;
    bad_batches(&world, &customer, &mut cases).await;
    cases.check();
    assert!(cases.0.len() >= 30, "{} cases", cases.0.len());
    assert_eq!(world.dump().await.unwrap(), dump);
}

fn id(number: u128) -> String {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string()
}

async fn bad_accounts(world: &World, cases: &mut Cases) {
    let good = RegistrationServiceRegisterRequest {
        request_id: id(1),
        site: 1,
        email: "new@example.com".into(),
        username: "new-name".into(),
        currency_code: "CNY".into(),
        workspace_name: "New".into(),
        password: String::new(),
        ..Default::default()
    };
    type Break = fn(&mut RegistrationServiceRegisterRequest);
    let bad: [(&str, Break); 10] = [
        ("no request id", |r| r.request_id.clear()),
        ("a request id that is no UUID", |r| r.request_id = "12345".into()),
        ("no site", |r| r.site = 0),
        ("an unknown site", |r| r.site = 99),
        ("no e-mail", |r| r.email = "not an address".into()),
        ("a short user name", |r| r.username = "ab".into()),
        ("a user name in another script", |r| r.username = "аdmin".into()),
        ("an unknown currency", |r| r.currency_code = "EUR".into()),
        ("no workspace name", |r| r.workspace_name.clear()),
        ("a control character", |r| r.workspace_name = "a\u{7}b".into()),
    ];
    for (name, break_it) in bad {
        let mut request = good.clone();
        break_it(&mut request);
        let answer = world.clients.registrations.clone().register(request).await;
        cases.add(name, answer, Code::InvalidArgument, "FIELD_INVALID");
    }
    let taken = RegistrationServiceRegisterRequest { email: "GOOD@example.com".into(), ..good };
    let answer = world.clients.registrations.clone().register(taken).await;
    cases.add("a taken e-mail in another case", answer, Code::AlreadyExists, "EMAIL_TAKEN");
}

async fn bad_money(world: &World, customer: &Settled, cases: &mut Cases) {
    let good = WalletServiceTopUpRequest {
        request_id: id(2),
        billing_account_id: customer.payer().to_owned(),
        amount: Some(tests::cny("1.00")),
        provider: "bank".into(),
        reference: "new-reference".into(),
    };
    for amount in [
        "NaN",
        "1e3",
        "-1.00",
        "0.00",
        "0",
        "1.005",
        "+1",
        "01",
        "1000000000000000000",
        "100000000.01",
        "",
        "1,0",
    ] {
        let request = WalletServiceTopUpRequest { amount: Some(tests::cny(amount)), ..good.clone() };
        let answer = world.clients.wallets.clone().top_up(request).await;
        cases.add(&format!("an amount of {amount:?}"), answer, Code::InvalidArgument, "FIELD_INVALID");
    }
    let mut wallets = world.clients.wallets.clone();
    let request = WalletServiceTopUpRequest { amount: None, ..good.clone() };
    cases.add("no amount", wallets.top_up(request).await, Code::InvalidArgument, "FIELD_INVALID");
    let usd = Money { currency_code: "USD".into(), amount: "1.00".into() };
    let request = WalletServiceTopUpRequest { amount: Some(usd), ..good.clone() };
    cases.add(
        "another currency",
        wallets.top_up(request).await,
        Code::FailedPrecondition,
        "CURRENCY_MISMATCH",
    );
    let request =
        WalletServiceTopUpRequest { billing_account_id: customer.workspace().to_owned(), ..good.clone() };
    cases.add("a wrong prefix", wallets.top_up(request).await, Code::InvalidArgument, "FIELD_INVALID");
    let request = WalletServiceTopUpRequest { billing_account_id: format!("bacc_{}", id(3)), ..good.clone() };
    cases.add("an unknown payer", wallets.top_up(request).await, Code::NotFound, "OBJECT_NOT_FOUND");
    let known =
        customer.journey.record("x", "payment", time::OffsetDateTime::UNIX_EPOCH, ("", "", "")).event_id;
    let reference = uuid::Uuid::new_v5(&customer.journey.customer.namespace, b"payment").to_string();
    assert_ne!(known, reference);
    let request = WalletServiceTopUpRequest { reference, ..good.clone() };
    cases.add(
        "a payment twice",
        wallets.top_up(request).await,
        Code::AlreadyExists,
        "PAYMENT_REFERENCE_TAKEN",
    );
    let voucher = WalletServiceGrantVoucherRequest {
        request_id: id(4),
        billing_account_id: customer.payer().to_owned(),
        face_value: Some(tests::cny("5.00")),
        last_date: Some(date(customer.day.plus_days(-1))),
        grant_reason: "test".into(),
    };
    let answer = wallets.grant_voucher(voucher.clone()).await;
    cases.add("a voucher for the past", answer, Code::InvalidArgument, "FIELD_INVALID");
    let last_date = Some(Date { year: 2027, month: 2, day: 30 });
    let answer = wallets.grant_voucher(WalletServiceGrantVoucherRequest { last_date, ..voucher }).await;
    cases.add("a day that is none", answer, Code::InvalidArgument, "FIELD_INVALID");
}

async fn bad_workspaces(world: &World, customer: &Settled, cases: &mut Cases) {
    let mut workspaces = world.clients.workspaces.clone();
    let good = WorkspaceServiceSetRetentionRequest {
        request_id: id(5),
        workspace_id: customer.workspace().to_owned(),
        data_type: 2,
        dimension: String::new(),
        days: 7,
    };
    let request = WorkspaceServiceSetRetentionRequest { days: 5, ..good.clone() };
    let answer = workspaces.set_retention(request).await;
    cases.add("days that are not offered", answer, Code::InvalidArgument, "RETENTION_NOT_OFFERED");
    let request = WorkspaceServiceSetRetentionRequest { data_type: 77, ..good.clone() };
    let answer = workspaces.set_retention(request).await;
    cases.add("an unknown data type", answer, Code::InvalidArgument, "FIELD_INVALID");
    let request = WorkspaceServiceSetRetentionRequest { workspace_id: NOBODY.into(), ..good };
    cases.add(
        "an unknown workspace",
        workspaces.set_retention(request).await,
        Code::NotFound,
        "OBJECT_NOT_FOUND",
    );
    let bind = BindingServiceBindRequest {
        billing_account_code: None,
        request_id: id(6),
        workspace_id: customer.workspace().to_owned(),
        billing_account_id: customer.payer().to_owned(),
    };
    let answer = world.clients.bindings.clone().bind(bind).await;
    cases.add("a bound workspace", answer, Code::FailedPrecondition, "WORKSPACE_BOUND");
    let seal = UsageServiceSealDayRequest { usage_date: Some(date(customer.day)) };
    let answer = world.clients.usage.clone().seal_day(seal).await;
    cases.add("a day that has not ended", answer, Code::FailedPrecondition, "DAY_NOT_ENDED");
    let query = UsageServiceQueryRequest {
        workspace_id: NOBODY.into(),
        usage_date: Some(date(customer.day)),
        ..Default::default()
    };
    let answer = world.clients.usage.clone().query(query).await;
    cases.add("usage of an unknown workspace", answer, Code::NotFound, "OBJECT_NOT_FOUND");
}

async fn bad_billing(world: &World, cases: &mut Cases) {
    let answer =
        world.clients.bills.clone().get(BillServiceGetRequest { bill_id: format!("bill_{}", id(7)) }).await;
    cases.add("an unknown bill", answer, Code::NotFound, "OBJECT_NOT_FOUND");
    let run = BillRunServiceCreateRequest {
        request_id: id(8),
        usage_date: Some(Date { year: 2026, month: 1, day: 1 }),
    };
    let answer = world.clients.bill_runs.clone().create(run).await;
    cases.add("a day without a manifest", answer, Code::FailedPrecondition, "DAY_NOT_SEALED");
    let quote = PriceBookServiceQuoteRequest {
        currency_code: "CNY".into(),
        site_class: SiteClass::China.into(),
        usage_date: Some(Date { year: 2021, month: 1, day: 1 }),
        quantities: vec![QuoteQuantity { item: "log".into(), quantity: "1".into(), ..Default::default() }],
    };
    let mut price_books = world.clients.price_books.clone();
    let answer = price_books.quote(quote.clone()).await;
    cases.add("a day before all prices", answer, Code::FailedPrecondition, "BOOK_NOT_LOADED");
    let mut huge = quote.clone();
    huge.usage_date = Some(Date { year: 2026, month: 1, day: 1 });
    huge.quantities[0] =
        QuoteQuantity { item: "report".into(), quantity: "999999999999999999".into(), ..Default::default() };
    cases.add(
        "a quantity past the bounds",
        price_books.quote(huge).await,
        Code::InvalidArgument,
        "FIELD_INVALID",
    );
    let entry = PriceEntry {
        item: "log".into(),
        retention_days: 7,
        unit_size: "1000".into(),
        unit_of: "record".into(),
        unit_price: "-1".into(),
        start_date: Some(Date { year: 2030, month: 1, day: 1 }),
        end_date: None,
    };
    let publish = PriceBookServicePublishRequest {
        request_id: id(9),
        currency_code: "CNY".into(),
        site_class: SiteClass::China.into(),
        entries: vec![entry.clone()],
    };
    let answer = price_books.publish(publish.clone()).await;
    cases.add("a negative price", answer, Code::InvalidArgument, "FIELD_INVALID");
    let past = PriceEntry {
        unit_price: "1".into(),
        start_date: Some(Date { year: 2024, month: 1, day: 1 }),
        ..entry
    };
    let answer = price_books.publish(PriceBookServicePublishRequest { entries: vec![past], ..publish }).await;
    cases.add("a price for the past", answer, Code::InvalidArgument, "PRICE_BOOK_INVALID");
}

async fn bad_batches(world: &World, customer: &Settled, cases: &mut Cases) {
    let mut usage = world.clients.usage.clone();
    let answer = usage.ingest_batch(UsageServiceIngestBatchRequest { records: Vec::new() }).await;
    cases.add("an empty batch", answer, Code::InvalidArgument, "FIELD_INVALID");
    let one = customer.record("huge", 1, ("log", "", "1"));
    let answer =
        usage.ingest_batch(UsageServiceIngestBatchRequest { records: vec![one.clone(); 5_001] }).await;
    cases.add("a batch of 5,001", answer, Code::InvalidArgument, "FIELD_INVALID");
    let wide = UsageRecord { meter: "m".repeat(2_000), ..one };
    let answer = usage.ingest_batch(UsageServiceIngestBatchRequest { records: vec![wide; 1_000] }).await;
    cases.add("a batch of 2 MB", answer, Code::InvalidArgument, "FIELD_INVALID");
    let point = customer.point(0, ("log", "", "1"), 0);
    let answer = usage.report_points(UsageServiceReportPointsRequest { points: vec![point; 5_001] }).await;
    cases.add("5,001 points", answer, Code::InvalidArgument, "FIELD_INVALID");
}

/// What is wrong, the record, and the reason that it must be refused with.
type BadRecord = (&'static str, UsageRecord, ErrorReason);

fn bad_records(customer: &Settled, now: time::OffsetDateTime) -> Vec<BadRecord> {
    let good = customer.record("bad", 0, ("log", "", "1"));
    let quantity = |text: &str| UsageRecord { quantity: text.to_owned(), ..good.clone() };
    vec![
        (
            "a workspace id that is none",
            UsageRecord { workspace_id: "x".into(), ..good.clone() },
            ErrorReason::RecordMalformed,
        ),
        (
            "an unknown workspace",
            UsageRecord { workspace_id: NOBODY.into(), ..good.clone() },
            ErrorReason::UnknownWorkspace,
        ),
        (
            "an event id that is none",
            UsageRecord { event_id: "x".into(), ..good.clone() },
            ErrorReason::RecordMalformed,
        ),
        ("no time", UsageRecord { event_time: None, ..good.clone() }, ErrorReason::RecordMalformed),
        (
            "an unknown meter",
            UsageRecord { meter: "nonsense".into(), ..good.clone() },
            ErrorReason::UnknownMeter,
        ),
        (
            "a dimension in capitals",
            UsageRecord { dimension: "AUDIT".into(), ..good.clone() },
            ErrorReason::RecordMalformed,
        ),
        (
            "a dimension of a meter without",
            UsageRecord { meter: "pv".into(), dimension: "x".into(), ..good.clone() },
            ErrorReason::RecordMalformed,
        ),
        ("not a number", quantity("NaN"), ErrorReason::RecordMalformed),
        ("an exponent", quantity("1e6"), ErrorReason::RecordMalformed),
        ("a negative quantity", quantity("-1"), ErrorReason::RecordMalformed),
        ("too large a quantity", quantity("1000000000000000000"), ErrorReason::RecordMalformed),
        ("a fraction", quantity("1.5"), ErrorReason::RecordMalformed),
        (
            "too far ahead",
            UsageRecord { event_time: Some(timestamp(now + Duration::hours(1))), ..good.clone() },
            ErrorReason::TooFarAhead,
        ),
        (
            "too old",
            UsageRecord { event_time: Some(timestamp(now - Duration::days(36))), ..good.clone() },
            ErrorReason::TooOld,
        ),
        (
            "before the workspace",
            UsageRecord { event_time: Some(timestamp(now - Duration::days(20))), ..good.clone() },
            ErrorReason::WorkspaceClosed,
        ),
        (
            "an id with another content",
            customer.record("first", 0, ("log", "", "8")),
            ErrorReason::EventIdReused,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_refused_by_index_and_the_rest_of_their_batch_is_counted() {
    let world = World::new().await.unwrap();
    let customer = world.customer("records").await.unwrap();
    let now = world.clients.now().await.unwrap();
    world
        .clients
        .usage
        .clone()
        .ingest_batch(UsageServiceIngestBatchRequest {
            records: vec![customer.record("first", 0, ("log", "", "7"))],
        })
        .await
        .unwrap();
    let dump = world.dump().await.unwrap();
    let bad = bad_records(&customer, now);
    let records: Vec<_> = bad.iter().map(|(_, record, _)| record.clone()).collect();
    let answer =
        world.clients.usage.clone().ingest_batch(UsageServiceIngestBatchRequest { records }).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.accepted_count, 0, "{answer:?}");
    for ((index, (name, _, reason)), refusal) in bad.iter().enumerate().zip(&answer.refusals) {
        assert_eq!(usize::try_from(refusal.index).unwrap(), index, "{name}");
        assert_eq!(refusal.reason(), *reason, "{name}: {}", refusal.message);
    }
    assert_eq!(answer.refusals.len(), bad.len());
    assert_eq!(world.dump().await.unwrap(), dump, "a refusal leaves no trace");

    let mut mixed: Vec<_> = bad.iter().map(|(_, record, _)| record.clone()).collect();
    mixed.insert(3, customer.record("good", 0, ("log", "", "5")));
    let answer =
        world.clients.usage.clone().ingest_batch(UsageServiceIngestBatchRequest { records: mixed }).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!((answer.accepted_count, answer.refusals.len()), (1, bad.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn points_with_an_equal_revision_must_agree() {
    let world = World::new().await.unwrap();
    let customer = world.customer("revisions").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(3)).await.unwrap();
    customer.journey.report_points(vec![customer.point(1, ("log", "", "5"), 4)]).await.unwrap();
    let dump = world.dump().await.unwrap();
    let mut half = customer.point(1, ("log", "", "5"), 0);
    half.hour_time = Some(timestamp(customer.day.start() + Duration::minutes(90)));
    let points = vec![customer.point(1, ("log", "", "6"), 4), half, customer.point(1, ("log", "", "9"), 3)];
    let answer =
        world.clients.usage.clone().report_points(UsageServiceReportPointsRequest { points }).await.unwrap();
    let answer = answer.into_inner();
    let reasons: Vec<_> = answer.refusals.iter().map(|refusal| refusal.reason()).collect();
    assert_eq!(reasons, [ErrorReason::PointRevisionReused, ErrorReason::RecordMalformed]);
    assert_eq!(answer.superseded_count, 1);
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// The first thing that happens to a wallet is a refusal: it leaves no trace, not even an empty book.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_payment_opens_no_book() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("fresh").await.unwrap();
    let dump = world.dump().await.unwrap();
    let request = WalletServiceTopUpRequest {
        request_id: id(20),
        billing_account_id: customer.payer().to_owned(),
        amount: Some(Money { currency_code: "USD".into(), amount: "1.00".into() }),
        provider: "bank".into(),
        reference: "x".into(),
    };
    let refused = world.clients.wallets.clone().top_up(request).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("CURRENCY_MISMATCH"));
    let balance = customer.journey.balance(customer.payer()).await.unwrap();
    assert_eq!(balance.cash, Some(tests::cny("0.00")));
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// Repeats within a batch are judged by what is stored, and share the refusal of the first.
#[tokio::test(flavor = "multi_thread")]
async fn repeats_within_a_batch_are_judged_by_what_is_stored() {
    let world = World::new().await.unwrap();
    let customer = world.customer("repeats").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(2)).await.unwrap();
    let send = async |records: Vec<UsageRecord>| {
        let request = UsageServiceIngestBatchRequest { records };
        let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
        let refused: Vec<_> =
            answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason())).collect();
        (answer.accepted_count, answer.duplicate_count, refused)
    };
    let one = |quantity| customer.record("one", 1, ("log", "", quantity));
    let reused = |index| (index, ErrorReason::EventIdReused);
    assert_eq!(send(vec![one("1"), one("1"), one("2")]).await, (1, 1, vec![reused(2)]));
    assert_eq!(send(vec![one("2"), one("1"), one("2")]).await, (0, 1, vec![reused(0), reused(2)]));
    customer.journey.report_points(vec![customer.point(0, ("trace", "", "5"), 0)]).await.unwrap();
    let record = || customer.record("mode", 1, ("trace", "", "1"));
    let mode = |index| (index, ErrorReason::SourceMode);
    assert_eq!(send(vec![record(), record()]).await, (0, 0, vec![mode(0), mode(1)]));
}

/// A point names only a policy that its meter's data can be under: else it would count twice, or could never be billed.
#[tokio::test(flavor = "multi_thread")]
async fn a_point_under_a_policy_that_cannot_be_is_refused() {
    let world = World::new().await.unwrap();
    let customer = world.customer("policies").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(2)).await.unwrap();
    let under = |meter: &str, retention_days| {
        let mut point = customer.point(0, (meter, "", "1"), 0);
        point.retention_days = retention_days;
        point
    };
    let points = vec![under("trigger", 14), under("log", 5), under("log", 7)];
    let answer =
        world.clients.usage.clone().report_points(UsageServiceReportPointsRequest { points }).await.unwrap();
    let answer = answer.into_inner();
    let refused: Vec<_> = answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason())).collect();
    assert_eq!(refused, [(0, ErrorReason::RecordMalformed), (1, ErrorReason::RecordMalformed)]);
    assert_eq!(answer.accepted_count, 1);
}
