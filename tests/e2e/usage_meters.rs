//! Meters are rows: what is split, weighed, and counted by distinct keys.

use chassis::civil::UsageDate;
use chassis::wire::{date, timestamp};
use tallystick_proto::billing::v1::{PriceBookServicePublishRequest, PriceEntry};
use tallystick_proto::common::v1::{ErrorReason, SiteClass};
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::{SellableItem, UsageServiceSetSellableItemsRequest};
use tallystick_proto::workspace::v1::{
    UsageKey, UsagePoint, UsageRecord, UsageServiceIngestBatchRequest, UsageServiceListMetersRequest,
    UsageServiceQueryRequest, UsageServiceReportKeysRequest, UsageServiceReportKeysResponse,
    UsageServiceReportPointsRequest,
};
use tests::{Settled, World};
use time::Duration;

use crate::bindings::refusal;
use crate::sessions::{channel, with_token};

async fn send(world: &World, records: Vec<UsageRecord>) {
    let request = UsageServiceIngestBatchRequest { records };
    let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
    assert!(answer.refusals.is_empty(), "{:?}", answer.refusals);
}

fn record(own: &Settled, name: &str, usage: (&str, &str)) -> UsageRecord {
    own.journey.record(own.workspace(), name, own.day.start() + Duration::HOUR, (usage.0, "", usage.1))
}

fn key(own: &Settled, meter: &str, key: &str, hour: i64, size: &str) -> UsageKey {
    UsageKey {
        workspace_id: own.workspace().to_owned(),
        meter: meter.to_owned(),
        dimension: String::new(),
        event_time: Some(timestamp(own.day.start() + Duration::hours(hour) + Duration::MINUTE)),
        key: key.to_owned(),
        size: size.to_owned(),
    }
}

async fn report(world: &World, keys: Vec<UsageKey>) -> UsageServiceReportKeysResponse {
    world
        .clients
        .usage
        .clone()
        .report_keys(UsageServiceReportKeysRequest { keys })
        .await
        .unwrap()
        .into_inner()
}

async fn used(world: &World, own: &Settled) -> Vec<String> {
    let request = UsageServiceQueryRequest {
        workspace_id: own.workspace().to_owned(),
        usage_date: Some(date(own.day)),
        ..Default::default()
    };
    let lines = world.clients.usage.clone().query(request).await.unwrap().into_inner().lines;
    lines.into_iter().map(|line| format!("{} {}", line.item, line.quantity)).collect()
}

/// IT-LOG-2, IT-PF-1, IT-TG-1, IT-TG-3, DEC-3 to DEC-6: by size, by action, by interval, and what is reported ready-made is added.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_split_by_size_and_calls_weighed_by_action() {
    let world = World::new().await.unwrap();
    let own = world.customer("splitter").await.unwrap();
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let usage = [
        ("log", "5"),
        ("log_bytes", "10240"),
        ("log_bytes", "20480"),
        ("log_bytes", "1"),
        ("log_bytes_sls", "4096"),
        ("profile_bytes", "307200"),
        ("profile_bytes", "614400"),
        ("trigger_monitor_advanced", "2"),
        ("trigger_monitor", "3"),
        ("trigger_interval_seconds", "900"),
        ("trigger_interval_seconds", "3600"),
        ("trigger_smart", "1"),
        ("trigger_smart_rum", "1"),
        ("trigger_query", "7"),
    ];
    let records = usage.iter().enumerate().map(|(n, usage)| record(&own, &n.to_string(), *usage)).collect();
    send(&world, records).await;
    // log: 5 + 1 + 2 + 1 + 2; trigger: 2 x 5 + 3 + 0 + 3 + 10 + 100 + 7.
    assert_eq!(used(&world, &own).await, ["log 11", "profile 3", "trigger 133"]);
    let point = UsagePoint {
        workspace_id: own.workspace().to_owned(),
        meter: "log_bytes".to_owned(),
        dimension: String::new(),
        retention_days: 0,
        hour_time: Some(timestamp(own.day.start())),
        quantity: "5".to_owned(),
        revision: 0,
        count_from_time: None,
    };
    let points = UsageServiceReportPointsRequest { points: vec![point] };
    let answer = world.clients.usage.clone().report_points(points).await.unwrap().into_inner();
    assert_eq!(answer.refusals[0].reason(), ErrorReason::RecordMalformed, "an hour of sizes is no point");
    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    own.journey.seal(own.day).await.unwrap();
    assert_eq!(used(&world, &own).await, ["log 11", "profile 3", "trigger 133"], "as sealed");
    world.reconcile().await.unwrap();
}

/// IT-TS-1, IT-TS-2, IT-NET-1, IT-TR-3, IT-SR-1, IT-SR-2: distinct in the day, or in each hour; a session by its length; order and repetition change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn distinct_keys_are_counted_once() {
    let world = World::new().await.unwrap();
    let own = world.customer("counter").await.unwrap();
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let keys = vec![
        key(&own, "timeseries_key", "cpu|host=a", 5, ""),
        key(&own, "timeseries_key", "cpu|host=a", 3, ""),
        key(&own, "timeseries_key", "cpu|host=b", 3, ""),
        key(&own, "network_host_key", "a", 1, ""),
        key(&own, "trace_key", "t1", 1, ""),
        key(&own, "trace_key", "t1", 2, ""),
        key(&own, "trace_key", "t1", 2, ""),
        key(&own, "session_replay_key", "s1", 1, "14400"),
        key(&own, "session_replay_key", "s1", 2, "43200"),
        key(&own, "session_replay_key", "s2", 2, "60"),
    ];
    let answer = report(&world, keys.clone()).await;
    assert_eq!((answer.new_count, answer.known_count, answer.late_count), (8, 2, 0), "{:?}", answer.refusals);
    let expected = ["network_host 1", "session_replay 4", "timeseries 2", "trace 2"];
    assert_eq!(used(&world, &own).await, expected);
    let again = report(&world, keys.into_iter().rev().collect()).await;
    assert_eq!((again.new_count, again.known_count), (0, 10));
    world.quiet().await.unwrap();
    assert_eq!(used(&world, &own).await, expected, "folded");
    let many: Vec<_> =
        (0..4_000).map(|n| key(&own, "timeseries_key", &format!("k{}", n % 2_000), n % 20, "")).collect();
    let racing = futures(&world, many).await;
    assert_eq!(
        racing.iter().map(|answer| answer.new_count).sum::<i32>(),
        2_000,
        "of racing batches each key counts in one"
    );
    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    own.journey.seal(own.day).await.unwrap();
    let sealed = ["network_host 1", "session_replay 4", "timeseries 2002", "trace 2"];
    assert_eq!(used(&world, &own).await, sealed);
    let late =
        report(&world, vec![key(&own, "timeseries_key", "late", 5, ""), key(&own, "trace_key", "t1", 1, "")])
            .await;
    assert_eq!((late.new_count, late.known_count, late.late_count), (1, 1, 1));
    assert_eq!(used(&world, &own).await[2], "timeseries 2003");
    world.reconcile().await.unwrap();
    assert_eq!(used(&world, &own).await[2], "timeseries 2003", "folded");
}

async fn futures(world: &World, keys: Vec<UsageKey>) -> Vec<UsageServiceReportKeysResponse> {
    let mut tasks = tokio::task::JoinSet::new();
    for part in [keys.clone(), keys.into_iter().rev().collect()] {
        let mut usage = world.clients.usage.clone();
        tasks.spawn(async move {
            usage.report_keys(UsageServiceReportKeysRequest { keys: part }).await.unwrap().into_inner()
        });
    }
    tasks.join_all().await
}

/// PLAN-3, DEC-14: a trial's 3,000 series are distinct ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_trials_series_are_distinct_ones() {
    let world = World::new().await.unwrap();
    let mut own = world.customer("prober").await.unwrap();
    own.registration.workspace_id = crate::trials::trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let series = |n: i64| key(&own, "timeseries_key", &format!("s{n}"), 12, "");
    assert_eq!(report(&world, (0..2_999).map(series).collect()).await.new_count, 2_999);
    let answer = report(&world, vec![series(0), series(5_000), series(5_001), series(5_000)]).await;
    assert_eq!((answer.new_count, answer.known_count), (1, 2));
    let refused: Vec<_> = answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason())).collect();
    assert_eq!(refused, [(2, ErrorReason::TrialQuotaUsedUp)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_are_refused_by_index() {
    let world = World::new().await.unwrap();
    let own = world.customer("sloppy").await.unwrap();
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let stranger = UsageKey {
        workspace_id: format!("wksp_{}", crate::bindings::id(7)),
        ..key(&own, "timeseries_key", "a", 1, "")
    };
    let keys = vec![
        key(&own, "timeseries_key", "", 1, ""),
        key(&own, "timeseries_key", &"x".repeat(513), 1, ""),
        key(&own, "timeseries_key", "a", 1, "5"),
        key(&own, "pv", "a", 1, ""),
        key(&own, "nothing", "a", 1, ""),
        key(&own, "timeseries_key", "a", -24 * 40, ""),
        key(&own, "timeseries_key", "a", 25, ""),
        stranger,
        key(&own, "timeseries_key", "good", 1, ""),
    ];
    let answer = report(&world, keys).await;
    assert_eq!(answer.new_count, 1);
    let reasons: Vec<_> =
        answer.refusals.iter().map(|refusal| refusal.reason().as_str_name().to_owned()).collect();
    let expected = [
        "RECORD_MALFORMED",
        "RECORD_MALFORMED",
        "RECORD_MALFORMED",
        "RECORD_MALFORMED",
        "UNKNOWN_METER",
        "TOO_OLD",
        "TOO_FAR_AHEAD",
        "UNKNOWN_WORKSPACE",
    ];
    assert_eq!(reasons, expected.map(|reason| format!("ERROR_REASON_{reason}")));
    let wrong = record(&own, "a", ("timeseries_key", "1"));
    let request = UsageServiceIngestBatchRequest { records: vec![wrong] };
    let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
    assert_eq!(answer.refusals[0].reason(), ErrorReason::RecordMalformed, "a key is no quantity");
}

/// Every item of the rules has its meters, and the contract says all of each.
#[tokio::test(flavor = "multi_thread")]
async fn every_item_has_meters_and_each_says_what_it_counts() {
    let world = World::without_prices().await.unwrap();
    let request = UsageServiceListMetersRequest { page_size: 1_000, ..Default::default() };
    let meters = world.clients.usage.clone().list_meters(request).await.unwrap().into_inner().meters;
    let items: std::collections::BTreeSet<_> = meters.iter().map(|meter| meter.item.as_str()).collect();
    let expected = [
        "datakit",
        "forward_external",
        "forward_internal",
        "log",
        "log_ingest",
        "network_host",
        "pipeline",
        "profile",
        "pv",
        "report",
        "scan",
        "session_replay",
        "sms",
        "synthetic",
        "timeseries",
        "trace",
        "trigger",
    ];
    assert_eq!(items.into_iter().collect::<Vec<_>>(), expected);
    let advanced: Vec<_> = meters.iter().filter(|meter| meter.meter == "trigger_monitor_advanced").collect();
    let weights: Vec<_> =
        advanced.iter().map(|meter| (meter.weight, meter.start_date.unwrap().year)).collect();
    assert_eq!(weights, [(1, 2022), (5, 2023)], "the rules of a day are those that held on it");
    let session = meters.iter().find(|meter| meter.meter == "session_replay_key").unwrap();
    assert_eq!((session.step, session.minimum, session.rounds_up), (14_400, 1, false));
    let bytes = meters.iter().find(|meter| meter.meter == "log_bytes").unwrap();
    assert_eq!((bytes.measure.as_str(), bytes.step), ("log", 10_240));
}

async fn publish(world: &World, number: u128, item: &str, from: UsageDate) {
    let entry = PriceEntry {
        item: item.to_owned(),
        retention_days: 0,
        unit_size: "1".to_owned(),
        unit_of: "thing".to_owned(),
        unit_price: "1".to_owned(),
        start_date: Some(date(from)),
        end_date: None,
    };
    let request = PriceBookServicePublishRequest {
        request_id: crate::bindings::id(number),
        currency_code: "CNY".to_owned(),
        site_class: SiteClass::China.into(),
        entries: vec![entry],
    };
    world.clients.price_books.clone().publish(request).await.unwrap();
    world.quiet().await.unwrap();
}

/// What is refused of a record, a point and a key; of the same name and hour they are the same again.
async fn refused(world: &World, own: &Settled, name: &str, hour: i64) -> Vec<ErrorReason> {
    let mut usage = world.clients.usage.clone();
    let records = vec![record(own, name, ("sms", "1"))];
    let ingested = usage.ingest_batch(UsageServiceIngestBatchRequest { records }).await.unwrap().into_inner();
    let points = vec![own.point(hour, ("report", "", "1"), 0)];
    let reported =
        usage.report_points(UsageServiceReportPointsRequest { points }).await.unwrap().into_inner();
    let keys = report(world, vec![key(own, "timeseries_key", name, hour, "")]).await;
    let refusals = [ingested.refusals, reported.refusals, keys.refusals].concat();
    refusals.iter().map(|refusal| refusal.reason()).collect()
}

/// DEC-19: while no book is known everything is taken; from a publication on what it does not sell is refused, whichever way it comes, and a trial is not
/// asked for prices. What is sold from tomorrow on is not sold today.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_known_book_does_not_sell_is_refused_from_its_publication_on() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("assortment").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(12)).await.unwrap();
    assert_eq!(refused(&world, &own, "before", 2).await, []);
    publish(&world, 71, "log", own.day.plus_days(-30)).await;
    let dump = world.dump().await.unwrap();
    assert_eq!(refused(&world, &own, "before", 2).await, [], "what was counted stays so");
    assert_eq!(refused(&world, &own, "after", 3).await, [ErrorReason::ItemNotSold; 3]);
    assert_eq!(world.dump().await.unwrap(), dump, "a refusal leaves no trace");
    let mut usage = world.clients.usage.clone();
    let points = vec![own.point(2, ("report", "", "0"), 1)];
    let corrected =
        usage.report_points(UsageServiceReportPointsRequest { points }).await.unwrap().into_inner();
    assert_eq!(corrected.accepted_count, 1, "what was reported before can be corrected");
    send(&world, vec![record(&own, "nothing", ("scan", "0"))]).await;
    send(&world, vec![record(&own, "sold", ("log", "5"))]).await;

    publish(&world, 72, "sms", own.day.next()).await;
    assert_eq!(refused(&world, &own, "today", 4).await, [ErrorReason::ItemNotSold; 3]);
    world.clients.advance_to(own.day.end() + Duration::hours(1)).await.unwrap();
    let tomorrow = own.day.end() + Duration::MINUTE;
    send(&world, vec![own.journey.record(own.workspace(), "tomorrow", tomorrow, ("sms", "", "3"))]).await;

    let trial = crate::trials::trial(&world, &own, 73).await;
    let now = world.clients.now().await.unwrap();
    let tried = own.journey.record(&trial, "tried", now, ("pv", "", "1"));
    send(&world, vec![tried]).await;
}

/// Of the publications of a book the highest holds, in whatever order and however often they come; a bad one changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_publication_of_a_book_holds_whatever_comes_after_it() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("orderly").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(12)).await.unwrap();
    let token = world.stack.signers[2].token(&["workspace-svc"]).unwrap();
    let mut usage = UsageServiceClient::new(channel(&world, "workspace-svc"));
    let item = |item: &str| SellableItem {
        item: item.to_owned(),
        retention_days: 0,
        start_date: Some(date(own.day)),
        end_date: None,
    };
    let book = |version, items: &[&str]| UsageServiceSetSellableItemsRequest {
        currency_code: "CNY".to_owned(),
        site_class: SiteClass::China.into(),
        version,
        items: items.iter().copied().map(item).collect(),
        last_date: Some(date(own.day)),
    };
    for (version, items, holds) in [(2, ["log", "sms"], 2), (2, ["log", "sms"], 2), (1, ["log", "pv"], 2)] {
        let answer = usage.set_sellable_items(with_token(book(version, &items), &token)).await.unwrap();
        assert_eq!(answer.into_inner().version, holds);
        send(&world, vec![record(&own, &format!("{version} {items:?}"), ("sms", "1"))]).await;
    }
    let dump = world.dump().await.unwrap();
    let ends_before = SellableItem { end_date: Some(date(own.day)), ..item("pv") };
    for (field, request) in [
        (
            "currency_code",
            UsageServiceSetSellableItemsRequest { currency_code: "EUR".to_owned(), ..book(3, &["pv"]) },
        ),
        ("site_class", UsageServiceSetSellableItemsRequest { site_class: 0, ..book(3, &["pv"]) }),
        ("version", book(0, &["pv"])),
        ("last_date", UsageServiceSetSellableItemsRequest { last_date: None, ..book(3, &["pv"]) }),
        ("items[0].item", book(3, &["no-item"])),
        ("items[1]", book(3, &["pv", "pv"])),
        ("items[0].item", book(3, &["no item"])),
        (
            "items[0].end_date",
            UsageServiceSetSellableItemsRequest { items: vec![ends_before], ..book(3, &[]) },
        ),
        ("items", book(3, &["pv"; 10_001])),
    ] {
        let status = refusal(usage.set_sellable_items(with_token(request, &token)).await, "FIELD_INVALID");
        assert!(format!("{status:?}").contains(field), "{field}: {status:?}");
    }
    assert_eq!(world.dump().await.unwrap(), dump);
    let answer = usage.set_sellable_items(with_token(book(3, &[]), &token)).await.unwrap();
    assert_eq!(answer.into_inner().version, 3);
    let last = refused(&world, &own, "nothing is sold", 5).await;
    assert_eq!(last, [ErrorReason::ItemNotSold; 3]);
}

/// What is not sold is certain only up to the day on which it was told: until billing has told of a new day, everything of it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn every_day_is_told_anew_and_until_then_everything_is_taken() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("daily").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(12)).await.unwrap();
    publish(&world, 74, "log", own.day.plus_days(-30)).await;
    assert_eq!(refused(&world, &own, "first", 1).await, [ErrorReason::ItemNotSold; 3]);
    let tomorrow = own.day.end() + Duration::hours(1);
    world.clients.advance_to(tomorrow + Duration::HOUR).await.unwrap();
    let sms = |name: &str| own.journey.record(own.workspace(), name, tomorrow, ("sms", "", "3"));
    send(&world, vec![sms("untold")]).await;
    let world = world.restart_with_all_workers().await.unwrap();
    let wait = async {
        for number in 0_i32.. {
            let request = UsageServiceIngestBatchRequest { records: vec![sms(&format!("told {number}"))] };
            let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
            if let Some(refusal) = answer.refusals.first() {
                assert_eq!(refusal.reason(), ErrorReason::ItemNotSold);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.unwrap();
}
