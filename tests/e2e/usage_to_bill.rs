//! From usage to a settled bill: the worked examples, through the API.

use chassis::civil::UsageDate;
use chassis::site::Site;
use local::bill_file::{self, Job};
use local::demonstration;
use tallystick_proto::account::v1::BillingAccountServiceListRequest;
use tallystick_proto::billing::v1::Bill;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::{DataType, UsageServiceIngestBatchRequest, UsageServiceQueryRequest};
use tests::{Settled, World, cny};
use time::Duration;

fn lines(bill: &Bill) -> Vec<(String, String, i32, String, String)> {
    let line = |line: &tallystick_proto::billing::v1::BillLine| {
        let amount = line.amount.as_ref().unwrap().amount.clone();
        (line.item.clone(), line.dimension.clone(), line.retention_days, line.units.clone(), amount)
    };
    bill.lines.iter().map(line).collect()
}

fn line(
    item: &str,
    dimension: &str,
    days: i32,
    units: &str,
    amount: &str,
) -> (String, String, i32, String, String) {
    (item.into(), dimension.into(), days, units.into(), amount.into())
}

/// Seals the customer's first day, bills it, and waits for the settlement.
async fn bill_first_day(world: &World, customer: &Settled) -> Bill {
    world.clients.advance_to(customer.day.end() + Duration::minutes(65)).await.unwrap();
    customer.journey.seal(customer.day).await.unwrap();
    let run = customer.journey.run_bills(customer.day).await.unwrap();
    assert_eq!(run.failed_count, 0, "{:?}", customer.journey.failures(&run.run_id).await);
    customer.journey.settled_bill(customer.workspace(), customer.day).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_costs_13_40_and_a_second_time_nothing_more() {
    let world = World::without_prices().await.unwrap();
    let first = demonstration::play(&world.clients).await.unwrap();
    let dump = world.dump().await.unwrap();
    let second = demonstration::play(&world.clients).await.unwrap();
    assert_eq!(first.bill_id, second.bill_id);
    assert_eq!(world.dump().await.unwrap(), dump, "playing it again changed something");
    let journey = world.journey("reader");
    let bill = journey.bill(&first.registration.workspace_id, first.day).await.unwrap().unwrap();
    assert_eq!(
        lines(&bill),
        [
            line("timeseries", "", 3, "6.00", "3.60"),
            line("log", "", 7, "2.00", "2.40"),
            line("trace", "", 3, "2.00", "4.00"),
            line("pv", "", 3, "2.00", "1.40"),
            line("trigger", "", 0, "2.00", "2.00"),
        ]
    );
    assert_eq!(bill.total, Some(cny("13.40")));
    let paid = bill.settlement.unwrap();
    assert_eq!((paid.voucher_amount, paid.cash_amount), (Some(cny("10.00")), Some(cny("3.40"))));
    assert_eq!(paid.owed_amount, Some(cny("0.00")));
    let balance = journey.balance(&first.registration.billing_account_id).await.unwrap();
    assert_eq!((balance.cash, balance.vouchers), (Some(cny("96.60")), Some(cny("0.00"))));
    world.reconcile().await.unwrap();
}

fn job(world_day: UsageDate) -> Job {
    Job {
        text: include_str!("../data/full-bill.csv").to_owned(),
        day: world_day,
        site: Site::from_word("CN1_HANGZHOU").unwrap(),
        currency_code: String::new(),
        top_up: "100.00".to_owned(),
        voucher: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_full_bill_is_79_08_line_by_line() {
    let world = World::new().await.unwrap();
    let today = UsageDate::of(world.clients.now().await.unwrap());
    let job = job(today.next());
    bill_file::bill(&world.clients, &job).await.unwrap();
    let bills = tallystick_proto::billing::v1::BillServiceListRequest {
        billing_account_id: payer_of_the_file(&world).await,
        ..Default::default()
    };
    let bills = world.clients.bills.clone().list(bills).await.unwrap().into_inner().bills;
    assert_eq!(bills.len(), 1);
    let bill = world.journey("reader").bill(&bills[0].workspace_id, job.day).await.unwrap().unwrap();
    assert_eq!(
        lines(&bill),
        [
            line("timeseries", "", 7, "12.34", "8.64"),
            line("log", "", 14, "3.45", "5.18"),
            line("log", "audit", 60, "0.50", "1.25"),
            line("forward_external", "", 0, "12.34", "4.32"),
            line("forward_internal", "", 0, "200.00", "1.40"),
            line("network_host", "", 0, "7.00", "14.00"),
            line("trace", "", 14, "2.50", "15.00"),
            line("profile", "", 7, "1.50", "0.45"),
            line("pv", "", 3, "3.00", "2.10"),
            line("session_replay", "", 0, "1.20", "3.00"),
            line("trigger", "", 0, "12.34", "12.34"),
            line("scan", "", 0, "10.00", "1.00"),
            line("report", "", 0, "3.00", "3.00"),
            line("pipeline", "", 0, "4.00", "0.40"),
            line("sms", "", 0, "2.50", "2.50"),
            line("synthetic", "", 0, "4.50", "4.50"),
        ]
    );
    assert_eq!(bill.total, Some(cny("79.08")));
    let dump = world.dump().await.unwrap();
    bill_file::bill(&world.clients, &job).await.unwrap();
    assert_eq!(world.dump().await.unwrap(), dump, "the same file again changed something");
    world.reconcile().await.unwrap();
}

async fn payer_of_the_file(world: &World) -> String {
    let accounts = world
        .clients
        .billing_accounts
        .clone()
        .list(BillingAccountServiceListRequest::default())
        .await
        .unwrap();
    accounts.into_inner().billing_accounts[0].billing_account_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_past_the_horizon_is_priced_at_its_own_prices_and_nothing_is_stored() {
    let world = World::new().await.unwrap();
    let job = job("2023-12-01".parse().unwrap());
    let dump = world.dump().await.unwrap();
    let rows = bill_file::read(&world.clients, &job).await.unwrap();
    let quote = bill_file::quote(&world.clients, &job, &rows).await.unwrap();
    assert_eq!(quote.total, Some(cny("87.68")));
    let unsold: Vec<_> = quote.unsold.iter().map(|unsold| unsold.item.as_str()).collect();
    assert_eq!(unsold, ["pipeline"]);
    let replay = quote.lines.iter().find(|line| line.item == "session_replay").unwrap();
    assert_eq!(replay.amount, Some(cny("12.00")), "10 per 1,000 until 2024-11-05");
    assert_eq!(world.dump().await.unwrap(), dump);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_of_a_usage_file_are_named_by_line_and_none_is_half_applied() {
    let world = World::new().await.unwrap();
    let dump = world.dump().await.unwrap();
    let today = UsageDate::of(world.clients.now().await.unwrap());
    let text = "meter,dimension,retention_days,quantity\nlog,,14,1000\nnonsense,,,1\nlog,,14,-5\ntrigger,,7,1\nlog,,,1\nlog,,14,2\n";
    let job = Job { text: text.to_owned(), ..job(today.next()) };
    let error = bill_file::bill(&world.clients, &job).await.unwrap_err().to_string();
    for line in ["line 3", "line 4", "line 5", "line 6", "line 7"] {
        assert!(error.contains(line), "{line} in {error}");
    }
    assert!(!error.contains("line 2:"), "{error}");
    let unsold =
        Job { text: text.lines().take(1).chain(["log,,45,1000"]).collect::<Vec<_>>().join("\n"), ..job };
    let error = bill_file::bill(&world.clients, &unsold).await.unwrap_err().to_string();
    assert!(error.contains("log at 45 days"), "{error}");
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// EX-21: spans and RUM events count when they are more.
#[tokio::test(flavor = "multi_thread")]
async fn companions_count_when_they_are_more() {
    let world = World::new().await.unwrap();
    let customer = world.customer("companions").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(12)).await.unwrap();
    let records = vec![
        customer.record("spans", 60, ("trace_span", "", "25000000")),
        customer.record("ids", 61, ("trace", "", "1000000")),
        customer.record("events", 62, ("rum_event", "", "3000000")),
        customer.record("views", 63, ("pv", "", "12000")),
    ];
    customer.journey.ingest(records).await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    let quantities: Vec<_> =
        bill.lines.iter().map(|line| (line.item.as_str(), line.quantity.as_str())).collect();
    assert_eq!(quantities, [("trace", "2500000"), ("pv", "30000")]);
    world.reconcile().await.unwrap();
}

/// EX-22: series take the maximum of the 24 points, logs their sum; a later revision replaces a point, an older one does not.
#[tokio::test(flavor = "multi_thread")]
async fn points_are_reduced_by_maximum_or_sum_and_the_highest_revision_holds() {
    let world = World::new().await.unwrap();
    let customer = world.customer("points").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::minutes(23 * 60 + 30)).await.unwrap();
    let mut points: Vec<_> = (0..24).map(|hour| customer.point(hour, ("log", "", "1000"), 0)).collect();
    for (hour, series) in [(0, "100"), (5, "250"), (23, "900")] {
        points.push(customer.point(hour, ("timeseries", "", series), 1));
    }
    points.push(customer.point(5, ("timeseries", "", "5000"), 0));
    points.reverse();
    customer.journey.report_points(points).await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    let quantities: Vec<_> =
        bill.lines.iter().map(|line| (line.item.as_str(), line.quantity.as_str())).collect();
    assert_eq!(quantities, [("timeseries", "900"), ("log", "24000")]);
}

/// EX-23: the first change of the day divides it at its hour; a second change of the day waits for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_retention_divides_the_day_and_a_second_one_waits() {
    let world = World::new().await.unwrap();
    let customer = world.customer("retention").await.unwrap();
    let noon = customer.day.start() + Duration::hours(12);
    world.clients.advance_to(noon - Duration::minutes(10)).await.unwrap();
    let change = |days| customer.journey.set_retention(customer.workspace(), DataType::ApmTrace, "", days);
    change(7).await.unwrap();
    let before = vec![customer.record("before", 11 * 60, ("trace", "", "1000000"))];
    customer.journey.ingest(before).await.unwrap();
    world.clients.advance_to(noon + Duration::hours(3)).await.unwrap();
    let again = tests_retention_request(&customer, 3);
    world.clients.workspaces.clone().set_retention(again).await.unwrap();
    let after = vec![customer.record("after", 14 * 60, ("trace", "", "1000000"))];
    customer.journey.ingest(after).await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    assert_eq!(lines(&bill), [line("trace", "", 7, "1.00", "3.00"), line("trace", "", 14, "1.00", "6.00")]);
    assert_eq!(bill.total, Some(cny("9.00")));
}

fn tests_retention_request(
    customer: &Settled,
    days: i32,
) -> tallystick_proto::workspace::v1::WorkspaceServiceSetRetentionRequest {
    tallystick_proto::workspace::v1::WorkspaceServiceSetRetentionRequest {
        request_id: uuid::Uuid::from_u128(77).to_string(),
        workspace_id: customer.workspace().to_owned(),
        data_type: DataType::ApmTrace.into(),
        dimension: String::new(),
        days,
    }
}

/// Order, batching and repetition of usage change nothing (invariant 2), through the API.
#[tokio::test(flavor = "multi_thread")]
async fn order_batching_and_repetition_do_not_change_the_sealed_day() {
    let world = World::new().await.unwrap();
    let straight = world.customer("straight").await.unwrap();
    let shuffled = world.journey("shuffled");
    let registration = shuffled.register().await.unwrap();
    let shuffled = Settled { journey: shuffled, registration, day: straight.day.next() };
    let day = shuffled.day;
    world.clients.advance_to(day.start() + Duration::minutes(23 * 60 + 30)).await.unwrap();
    let meters = [
        ("log", "", "17"),
        ("log", "audit", "5"),
        ("trace", "", "31"),
        ("trace_span", "", "977"),
        ("sms", "", "3"),
    ];
    let record = |who: &Settled, index: usize| {
        let time = day.start() + Duration::minutes(i64::try_from(index).unwrap() * 9);
        who.journey.record(who.workspace(), &index.to_string(), time, meters[index % meters.len()])
    };
    let indexes: Vec<usize> = (0..150).collect();
    let all = indexes.iter().map(|index| record(&straight, *index)).collect();
    straight.journey.ingest(all).await.unwrap();
    let mut mixed: Vec<usize> = indexes.iter().map(|index| (index * 67) % 150).collect();
    mixed.extend(indexes.iter().filter(|index| *index % 3 == 0));
    for batch in mixed.chunks(11) {
        let batch = batch.iter().map(|index| record(&shuffled, *index)).collect();
        shuffled.journey.ingest(batch).await.unwrap();
    }
    world.clients.advance_to(day.end() + Duration::minutes(5)).await.unwrap();
    straight.journey.seal(day).await.unwrap();
    let query = |id: &str| UsageServiceQueryRequest {
        workspace_id: id.to_owned(),
        usage_date: Some(chassis::wire::date(day)),
        ..Default::default()
    };
    let mut sealed = Vec::new();
    for id in [straight.workspace(), shuffled.workspace()] {
        let answer = world.clients.usage.clone().query(query(id)).await.unwrap().into_inner();
        assert!(answer.sealed);
        sealed.push(answer.lines);
    }
    assert_eq!(sealed[0], sealed[1]);
    assert_eq!(sealed[0].len(), 4);
    let total: i64 = sqlx::query_scalar("select count(*) from workspace.usage_records")
        .fetch_one(&mut world.scratch.admin().await.unwrap())
        .await
        .unwrap();
    assert_eq!(total, 300);
}

/// Day boundaries: the last moment of a day and the first of the next are two days.
#[tokio::test(flavor = "multi_thread")]
async fn the_billing_day_ends_at_midnight_plus_eight() {
    let world = World::new().await.unwrap();
    let customer = world.customer("midnight").await.unwrap();
    world.clients.advance_to(customer.day.end() + Duration::MINUTE).await.unwrap();
    let last = customer.day.end() - Duration::MILLISECOND;
    let at = |place: &str, time| {
        customer.journey.record(customer.workspace(), place, time, ("log", "", "1000000"))
    };
    let records = vec![at("last", last), at("first", customer.day.end())];
    customer.journey.ingest(records).await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    assert_eq!(bill.lines.len(), 1);
    assert_eq!(bill.lines[0].quantity, "1000000");
}

/// A day without usage has a zero bill, settled at issue without an allocation (DEC-47).
#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_usage_has_a_zero_bill_that_is_settled() {
    let world = World::new().await.unwrap();
    let customer = world.customer("idle").await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    assert!(bill.lines.is_empty());
    assert_eq!(bill.total, Some(cny("0.00")));
    assert_eq!(bill.settlement.unwrap().settlement_id, "");
    world.reconcile().await.unwrap();
}

/// Without a price the workspace is listed as a failure and holds back no other; another run bills it once there is one (DEC-19).
#[tokio::test(flavor = "multi_thread")]
async fn usage_without_a_price_is_a_listed_failure_and_never_free() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("priceless").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(2)).await.unwrap();
    customer.journey.ingest(vec![customer.record("one", 60, ("log", "", "2000000"))]).await.unwrap();
    world.clients.advance_to(customer.day.end() + Duration::minutes(65)).await.unwrap();
    customer.journey.seal(customer.day).await.unwrap();
    let run = customer.journey.run_bills(customer.day).await.unwrap();
    assert_eq!((run.workspace_count, run.billed_count, run.failed_count), (1, 0, 1));
    let failures = customer.journey.failures(&run.run_id).await.unwrap();
    assert!(failures[0].contains("NO_BOOK"), "{failures:?}");
    local::prices::load(&world.clients).await.unwrap();
    let again = world.journey("second-run").run_bills(customer.day).await.unwrap();
    assert_eq!((again.billed_count, again.failed_count), (1, 0));
    let third = world.journey("third-run").run_bills(customer.day).await.unwrap();
    assert_eq!((third.billed_count, third.failed_count), (1, 0), "a bill that is there counts as billed");
    customer.journey.settled_bill(customer.workspace(), customer.day).await.unwrap();
    world.reconcile().await.unwrap();
}

/// Late usage is accepted, listed, and not on the sealed day; the bill does not change.
#[tokio::test(flavor = "multi_thread")]
async fn usage_after_the_seal_is_late_and_changes_no_bill() {
    let world = World::new().await.unwrap();
    let customer = world.customer("late").await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    let records = vec![customer.record("late", 60, ("log", "", "2000000"))];
    let request = UsageServiceIngestBatchRequest { records: records.clone() };
    let answer = world.clients.usage.clone().ingest_batch(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.accepted_count, answer.late_count), (1, 1));
    let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
    assert_eq!((answer.accepted_count, answer.duplicate_count), (0, 1));
    let request = tallystick_proto::workspace::v1::UsageServiceListLateUsageRequest {
        usage_date: Some(chassis::wire::date(customer.day)),
        ..Default::default()
    };
    let late = world.clients.usage.clone().list_late_usage(request).await.unwrap().into_inner().late_usage;
    assert_eq!((late.len(), late[0].record_count), (1, 1));
    assert_eq!(customer.journey.seal(customer.day).await.unwrap().workspace_count, 1);
    let again = customer.journey.bill(customer.workspace(), customer.day).await.unwrap().unwrap();
    assert_eq!(again, bill);
}

/// An item of a workspace is fed by records or by points on a day, not both (DEC-8); a refusal leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn records_and_points_of_one_item_do_not_mix() {
    let world = World::new().await.unwrap();
    let customer = world.customer("modes").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(12)).await.unwrap();
    customer.journey.report_points(vec![customer.point(1, ("log", "", "5"), 0)]).await.unwrap();
    let dump = world.dump().await.unwrap();
    let request =
        UsageServiceIngestBatchRequest { records: vec![customer.record("r", 61, ("log", "audit", "5"))] };
    let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
    assert_eq!(answer.refusals[0].reason(), ErrorReason::SourceMode);
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// The largest quantity that is admitted is sealed, rated, stored and settled exactly: no check of the database rounds.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_quantity_is_billed_exactly() {
    let world = World::new().await.unwrap();
    let customer = world.customer("largest").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(2)).await.unwrap();
    let point = customer.point(0, ("forward_internal", "rule-1", "999999999999999999"), 0);
    customer.journey.report_points(vec![point]).await.unwrap();
    let bill = bill_first_day(&world, &customer).await;
    assert_eq!(lines(&bill), [line("forward_internal", "rule-1", 0, "999999999.99", "7000000.00")]);
    assert_eq!(bill.lines[0].list_amount, "6999999.99993");
    world.reconcile().await.unwrap();
}

/// A sum past what can be billed is sealed, listed as a failure, and holds back nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_past_the_bounds_is_a_listed_failure() {
    let world = World::new().await.unwrap();
    let customer = world.customer("beyond").await.unwrap();
    let other = world.journey("beside").register().await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(2)).await.unwrap();
    let largest = ("scan", "", "999999999999999999");
    let records = vec![customer.record("a", 1, largest), customer.record("b", 2, largest)];
    customer.journey.ingest(records).await.unwrap();
    world.clients.advance_to(customer.day.end() + Duration::minutes(65)).await.unwrap();
    assert_eq!(customer.journey.seal(customer.day).await.unwrap().workspace_count, 2);
    let run = customer.journey.run_bills(customer.day).await.unwrap();
    assert_eq!((run.billed_count, run.failed_count), (1, 1));
    let failures = customer.journey.failures(&run.run_id).await.unwrap();
    assert!(failures[0].contains("OUT_OF_BOUNDS"), "{failures:?}");
    customer.journey.settled_bill(&other.workspace_id, customer.day).await.unwrap();
}
