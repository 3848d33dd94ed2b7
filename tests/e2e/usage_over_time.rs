//! Usage by hour, day and month; days that seal by themselves; history from elsewhere; partitions that come and go.

use std::collections::BTreeMap;

use chassis::civil::UsageDate;
use chassis::wire::{date, timestamp};
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_lookup_response::State;
use tallystick_proto::workspace::v1::usage_service_query_request::Granularity;
use tallystick_proto::workspace::v1::usage_service_stream_sealed_days_response::Part;
use tallystick_proto::workspace::v1::{
    DataType, SealedLine, UsageRecord, UsageServiceGetOverviewRequest, UsageServiceImportSealedDayRequest,
    UsageServiceIngestBatchRequest, UsageServiceIngestBatchResponse, UsageServiceLookupRequest,
    UsageServiceQueryRequest, UsageServiceQueryResponse, UsageServiceSealDayRequest,
    UsageServiceStreamSealedDaysRequest, WorkspaceServiceSetRetentionRequest,
};
use tests::{Settled, World};
use time::{Duration, OffsetDateTime};

use crate::bindings::refusal;

async fn send(world: &World, records: Vec<UsageRecord>) -> UsageServiceIngestBatchResponse {
    let request = UsageServiceIngestBatchRequest { records };
    world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
}

fn at(own: &Settled, name: &str, time: OffsetDateTime, usage: (&str, &str)) -> UsageRecord {
    own.journey.record(own.workspace(), name, time, (usage.0, "", usage.1))
}

fn asked(
    own: &Settled,
    first: UsageDate,
    last: UsageDate,
    granularity: Granularity,
) -> UsageServiceQueryRequest {
    UsageServiceQueryRequest {
        workspace_id: own.workspace().to_owned(),
        usage_date: Some(date(first)),
        last_date: Some(date(last)),
        granularity: granularity.into(),
        ..Default::default()
    }
}

async fn query(world: &World, request: UsageServiceQueryRequest) -> UsageServiceQueryResponse {
    world.clients.usage.clone().query(request).await.unwrap().into_inner()
}

fn brief(lines: &[SealedLine]) -> Vec<String> {
    lines.iter().map(|line| format!("{} {}", line.item, line.quantity)).collect()
}

fn periods(answer: &UsageServiceQueryResponse) -> Vec<(i64, Vec<String>)> {
    answer.periods.iter().map(|p| (p.start_time.unwrap().seconds, brief(&p.lines))).collect()
}

/// By hour, day and month, of sealed and open days together; late usage is in it at once.
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_read_by_hour_day_and_month() {
    let world = World::new().await.unwrap();
    let own = world.customer("reader").await.unwrap();
    let (first, second) = (own.day, own.day.plus_days(1));
    world.clients.advance_to(second.start() + Duration::hours(14)).await.unwrap();
    let hour = |day: UsageDate, hour: i64| day.start() + Duration::hours(hour);
    let records = vec![
        at(&own, "a", hour(first, 1), ("pv", "10")),
        at(&own, "b", hour(first, 1) + Duration::minutes(59), ("rum_event", "3000")),
        at(&own, "c", hour(first, 23), ("pv", "5")),
        at(&own, "d", hour(second, 3), ("pv", "7")),
        at(&own, "e", hour(second, 4), ("network_host", "4")),
        at(&own, "f", hour(second, 5), ("network_host", "6")),
    ];
    assert_eq!(send(&world, records).await.accepted_count, 6);
    own.journey.seal(first).await.unwrap();
    let start = |day: UsageDate, hours: i64| hour(day, hours).unix_timestamp();
    let by_hour = query(&world, asked(&own, first, second, Granularity::Hour)).await;
    let expected = [
        (start(first, 1), vec!["pv 30".to_owned()]),
        (start(first, 23), vec!["pv 5".to_owned()]),
        (start(second, 3), vec!["pv 7".to_owned()]),
        (start(second, 4), vec!["network_host 4".to_owned()]),
        (start(second, 5), vec!["network_host 6".to_owned()]),
    ];
    assert_eq!(periods(&by_hour), expected);
    assert_eq!(
        brief(&by_hour.lines),
        ["network_host 6", "pv 37"],
        "the sum of the days, whatever the periods"
    );
    let by_day = query(&world, asked(&own, first, second, Granularity::Day)).await;
    let days = [
        (start(first, 0), vec!["pv 30".to_owned()]),
        (start(second, 0), vec!["network_host 6".to_owned(), "pv 7".to_owned()]),
    ];
    assert_eq!(periods(&by_day), days);
    assert_eq!(brief(&by_day.lines), ["network_host 6", "pv 37"]);
    assert!(!by_day.sealed && query(&world, asked(&own, first, first, Granularity::Day)).await.sealed);
    let by_month = query(&world, asked(&own, first, first, Granularity::Month)).await;
    assert_eq!(brief(&by_month.periods[0].lines), ["pv 30"]);
    let only =
        UsageServiceQueryRequest { item: "pv".to_owned(), ..asked(&own, first, second, Granularity::Day) };
    assert_eq!(brief(&query(&world, only).await.lines), ["pv 37"]);

    let late = at(&own, "late", hour(first, 2), ("pv", "100"));
    assert_eq!(send(&world, vec![late]).await.late_count, 1);
    let by_day = query(&world, asked(&own, first, first, Granularity::Day)).await;
    assert_eq!(brief(&by_day.lines), ["pv 115"], "115 page views against 3,000 / 100 events");
    let overview = UsageServiceGetOverviewRequest { workspace_id: own.workspace().to_owned() };
    let overview = world.clients.usage.clone().get_overview(overview).await.unwrap().into_inner();
    assert_eq!(overview.usage_date, Some(date(second)));
    assert_eq!(brief(&overview.today), ["network_host 6", "pv 7"]);
    let yesterday = if second.date().day() == 1 { vec![] } else { vec!["pv 115".to_owned()] };
    assert_eq!(brief(&overview.month_to_yesterday), yesterday);
    world.reconcile().await.unwrap();
}

/// DEC-16: a day on which the retention changes is read by its hours, open, sealed, and after something came late.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_two_retentions_is_read_as_two_lines() {
    let world = World::new().await.unwrap();
    let own = world.customer("changer").await.unwrap();
    let hour = |hour: i64| own.day.start() + Duration::hours(hour);
    world.clients.advance_to(hour(11) + Duration::minutes(20)).await.unwrap();
    let change = WorkspaceServiceSetRetentionRequest {
        request_id: crate::bindings::id(1),
        workspace_id: own.workspace().to_owned(),
        data_type: DataType::ApmTrace.into(),
        dimension: String::new(),
        days: 7,
    };
    world.clients.workspaces.clone().set_retention(change).await.unwrap();
    world.clients.advance_to(hour(15)).await.unwrap();
    let traces = |name: &str, at_hour, count| at(&own, name, hour(at_hour), ("trace", count));
    let records = vec![traces("before", 11, "1000000"), traces("after", 14, "2000000")];
    assert_eq!(send(&world, records).await.accepted_count, 2);
    let read = async || {
        world.quiet().await.unwrap();
        let answer = query(&world, asked(&own, own.day, own.day, Granularity::Day)).await;
        let line = |line: SealedLine| (line.retention_days, line.quantity);
        answer.lines.into_iter().map(line).collect::<Vec<_>>()
    };
    let two = |before: &str| [(7, "2000000".to_owned()), (14, before.to_owned())];
    assert_eq!(read().await, two("1000000"), "open");
    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    own.journey.seal(own.day).await.unwrap();
    assert_eq!(read().await, two("1000000"), "sealed");
    assert_eq!(send(&world, vec![traces("late", 11, "5")]).await.late_count, 1);
    assert_eq!(read().await, two("1000005"), "changed");
    world.reconcile().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_past_its_limits_is_refused() {
    let world = World::new().await.unwrap();
    let own = world.customer("curious").await.unwrap();
    let mut usage = world.clients.usage.clone();
    let bad = [
        asked(&own, own.day, own.day.plus_days(-1), Granularity::Day),
        asked(&own, own.day, own.day.plus_days(31), Granularity::Hour),
        asked(&own, own.day, own.day.plus_days(400), Granularity::Month),
        UsageServiceQueryRequest { granularity: 9, ..asked(&own, own.day, own.day, Granularity::Day) },
    ];
    for request in bad {
        refusal(usage.query(request.clone()).await, "FIELD_INVALID");
    }
    let nobody = UsageServiceGetOverviewRequest { workspace_id: format!("wksp_{}", crate::bindings::id(7)) };
    refusal(usage.get_overview(nobody).await, "OBJECT_NOT_FOUND");
}

/// DEC-9, DEC-10: a millisecond before midnight is the day before, and an hour after it the day is closed, by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_seals_by_itself_an_hour_after_its_end() {
    let world = World::sealing().await.unwrap();
    let own = world.customer("sleeper").await.unwrap();
    let midnight = own.day.end();
    world.clients.advance_to(midnight + Duration::minutes(55)).await.unwrap();
    let last = at(&own, "last", midnight - Duration::MILLISECOND, ("pv", "1"));
    let first = at(&own, "first", midnight, ("pv", "2"));
    let answer = send(&world, vec![last.clone(), first]).await;
    assert_eq!((answer.accepted_count, answer.late_count), (2, 0));
    world.clients.advance_to(midnight + Duration::minutes(61)).await.unwrap();
    let world = world.restart().await.unwrap();
    let request = asked(&own, own.day, own.day, Granularity::Day);
    let wait = async {
        loop {
            let answer = query(&world, request.clone()).await;
            if answer.sealed {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let sealed = tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.unwrap();
    assert_eq!(brief(&sealed.lines), ["pv 1"]);
    let again = send(&world, vec![last, at(&own, "later", midnight - Duration::SECOND, ("pv", "1"))]).await;
    assert_eq!((again.duplicate_count, again.late_count), (1, 1));
}

/// A resend meets its key up to the last second of the horizon, and is refused a second after; Lookup tells either way. After 40 days the records are
/// gone, after the seal only, and the sealed day is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_resend_meets_its_key_to_the_last_second_and_records_go_after_40_days() {
    let world = World::sealing().await.unwrap();
    let own = world.customer("archivist").await.unwrap();
    let event_time = own.day.start() + Duration::hours(5);
    let record = at(&own, "old", event_time, ("pv", "3"));
    world.clients.advance_to(event_time + Duration::MINUTE).await.unwrap();
    assert_eq!(send(&world, vec![record.clone()]).await.accepted_count, 1);
    let horizon = event_time + Duration::days(35);
    world.clients.advance_to(horizon - Duration::SECOND).await.unwrap();
    // The clock runs on: well before the second has passed.
    assert_eq!(send(&world, vec![record.clone()]).await.duplicate_count, 1);
    world.clients.advance_to(horizon + Duration::SECOND).await.unwrap();
    let refused = send(&world, vec![record.clone()]).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::TooOld);
    let lookup = UsageServiceLookupRequest {
        workspace_id: own.workspace().to_owned(),
        event_id: record.event_id.clone(),
        usage_date: Some(date(own.day)),
    };
    let mut usage = world.clients.usage.clone();
    assert_eq!(usage.lookup(lookup.clone()).await.unwrap().into_inner().state(), State::Counted);

    world.clients.advance_to(own.day.plus_days(41).start() + Duration::HOUR).await.unwrap();
    assert_eq!(usage.lookup(lookup).await.unwrap().into_inner().state(), State::Forgotten);
    let world = world.restart().await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    let partition = format!("workspace.usage_records_{}", own.day.to_string().replace('-', ""));
    let wait = async {
        loop {
            let gone: bool = sqlx::query_scalar("select to_regclass($1) is null")
                .bind(&partition)
                .fetch_one(&mut admin)
                .await
                .unwrap();
            if gone {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(100), wait).await.unwrap();
    let kept = query(&world, asked(&own, own.day, own.day, Granularity::Hour)).await;
    assert_eq!(
        (brief(&kept.lines), kept.sealed),
        (vec!["pv 3".to_owned()], true),
        "hours and sealed day stay"
    );
}

fn imported(own: &Settled, day: UsageDate) -> UsageServiceImportSealedDayRequest {
    UsageServiceImportSealedDayRequest {
        workspace_id: own.workspace().to_owned(),
        usage_date: Some(date(day)),
        billing_account_id: own.payer().to_owned(),
        currency_code: "CNY".to_owned(),
        source: "the system before, bill 42".to_owned(),
        lines: vec![SealedLine {
            item: "log".to_owned(),
            dimension: String::new(),
            retention_days: 14,
            quantity: "1200".to_owned(),
        }],
    }
}

/// A day from before the workspace was made is stored once, read as any other, and in no manifest.
#[tokio::test(flavor = "multi_thread")]
async fn history_is_brought_from_elsewhere_and_never_billed() {
    let world = World::new().await.unwrap();
    let own = world.customer("mover").await.unwrap();
    let mut usage = world.clients.usage.clone();
    let day = own.day.plus_days(-30);
    let first = usage.import_sealed_day(imported(&own, day)).await.unwrap().into_inner();
    let again = usage.import_sealed_day(imported(&own, day)).await.unwrap().into_inner();
    assert_eq!(first, again);
    let dump = world.dump().await.unwrap();
    let mut other = imported(&own, day);
    other.lines[0].quantity = "1201".to_owned();
    refusal(usage.import_sealed_day(other).await, "SEALED_DAY_DIFFERS");
    refusal(usage.import_sealed_day(imported(&own, own.day)).await, "DAY_MEASURED_HERE");
    let mut twice = imported(&own, day);
    twice.lines.push(twice.lines[0].clone());
    let mut unknown = imported(&own, day.plus_days(1));
    unknown.lines[0].item = "gold".to_owned();
    let mut nothing = imported(&own, day.plus_days(1));
    nothing.lines[0].quantity = "0".to_owned();
    for request in [twice, unknown, nothing] {
        refusal(usage.import_sealed_day(request.clone()).await, "FIELD_INVALID");
    }
    assert_eq!(world.dump().await.unwrap(), dump);
    let read = query(&world, asked(&own, day, day, Granularity::Day)).await;
    assert_eq!((brief(&read.lines), read.sealed), (vec!["log 1200".to_owned()], true));
    let seal = UsageServiceSealDayRequest { usage_date: Some(date(day)) };
    let manifest = usage.seal_day(seal).await.unwrap().into_inner().manifest.unwrap();
    assert_eq!(manifest.workspace_count, 0, "it was billed elsewhere");
}

/// A reader that was interrupted goes on after the last sealed day it has.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_days_are_read_on_from_where_a_reader_was() {
    let world = World::new().await.unwrap();
    let mut last = None;
    for name in ["one", "two", "three"] {
        last = Some(world.customer(name).await.unwrap());
    }
    let day = last.as_ref().unwrap().day;
    world.clients.advance_to(day.end() + Duration::minutes(65)).await.unwrap();
    last.unwrap().journey.seal(day).await.unwrap();
    let read = |token: String| {
        let mut usage = world.clients.usage.clone();
        async move {
            let request =
                UsageServiceStreamSealedDaysRequest { usage_date: Some(date(day)), resume_token: token };
            let mut stream = usage.stream_sealed_days(request).await?.into_inner();
            let mut days = Vec::new();
            while let Some(message) = stream.message().await? {
                if let Some(Part::SealedDay(sealed)) = message.part {
                    days.push((message.resume_token, sealed.workspace_id));
                }
            }
            Ok::<_, tonic::Status>(days)
        }
    };
    let all = read(String::new()).await.unwrap();
    assert_eq!(all.len(), 3);
    for (place, (token, _)) in all.iter().enumerate() {
        assert_eq!(read(token.clone()).await.unwrap(), all[place + 1..]);
    }
    for token in ["x".to_owned(), all[0].0.replace(&day.to_string(), "2020-01-01")] {
        refusal(read(token).await, "FIELD_INVALID");
    }
    assert!(timestamp(day.start()).seconds > 0);
}

fn first_of_month(day: UsageDate) -> UsageDate {
    day.plus_days(1 - i64::from(day.date().day()))
}

/// By item and month, from days or from months.
fn by_month(answer: &UsageServiceQueryResponse) -> BTreeMap<(UsageDate, String), i64> {
    let mut sums = BTreeMap::new();
    for period in &answer.periods {
        let start = OffsetDateTime::from_unix_timestamp(period.start_time.unwrap().seconds).unwrap();
        for line in &period.lines {
            let sum = sums.entry((first_of_month(UsageDate::of(start)), line.item.clone())).or_default();
            *sum += line.quantity.parse::<i64>().unwrap();
        }
    }
    sums
}

/// Whole months are read from their sums, parts of months from their days, and days to which something came late from their hours: whatever the range, a
/// month is the sum of its days.
#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_the_sum_of_its_days_and_of_what_came_late() {
    let world = World::new().await.unwrap();
    let own = world.customer("monthly").await.unwrap();
    for days in [-70, -40, -39, -30] {
        let request = imported(&own, own.day.plus_days(days));
        world.clients.usage.clone().import_sealed_day(request).await.unwrap();
    }
    let first = first_of_month(first_of_month(own.day).plus_days(31));
    let next = first_of_month(first.plus_days(31));
    let noon = |day: UsageDate| day.start() + Duration::hours(12);
    world.clients.advance_to(first.plus_days(3).start() + Duration::HOUR).await.unwrap();
    let days = [first, first.plus_days(1), first.plus_days(2)];
    let records = days.map(|day| at(&own, &day.to_string(), noon(day), ("pv", "10")));
    assert_eq!(send(&world, records.to_vec()).await.accepted_count, 3);
    for day in days {
        own.journey.seal(day).await.unwrap();
    }
    world.clients.advance_to(noon(next)).await.unwrap();
    let last = next.plus_days(-1);
    let records = [(last, "20"), (next, "40")];
    let records = records.map(|(day, count)| at(&own, &day.to_string(), noon(day), ("pv", count)));
    assert_eq!(send(&world, records.to_vec()).await.accepted_count, 2);
    own.journey.seal(last).await.unwrap();
    let late = vec![
        at(&own, "late", noon(days[1]), ("pv", "100")),
        at(&own, "late too", noon(last), ("network_host", "3")),
    ];
    assert_eq!(send(&world, late).await.late_count, 2);

    let whole = query(&world, asked(&own, first, last, Granularity::Month)).await;
    assert_eq!(periods(&whole), [(first.start().unix_timestamp(), brief(&whole.lines))]);
    assert_eq!(brief(&whole.lines), ["network_host 3", "pv 150"]);
    let only =
        UsageServiceQueryRequest { item: "pv".to_owned(), ..asked(&own, first, last, Granularity::Month) };
    assert_eq!(brief(&query(&world, only).await.lines), ["pv 150"]);
    let mut compared = 0;
    for from in [own.day.plus_days(-75), own.day.plus_days(-40), first.plus_days(-1), first, days[1], days[2]]
    {
        for to in [own.day.plus_days(-39), first, days[1], last.plus_days(-1), last, next] {
            if to < from {
                continue;
            }
            let months = query(&world, asked(&own, from, to, Granularity::Month)).await;
            let by_day = query(&world, asked(&own, from, to, Granularity::Day)).await;
            assert_eq!(by_month(&months), by_month(&by_day), "{from} to {to}");
            assert_eq!(months.lines, by_day.lines, "{from} to {to}");
            compared += usize::from(!months.periods.is_empty());
        }
    }
    assert!(compared > 20, "{compared}");
    world.reconcile().await.unwrap();
}

/// DEC-9: at every midnight of UTC+08:00, also at the ends of months, years and of a leap day, a millisecond decides the day.
#[tokio::test(flavor = "multi_thread")]
async fn a_millisecond_decides_the_day_at_the_ends_of_months_years_and_leap_days() {
    let world = World::new().await.unwrap();
    let own = world.customer("calendar").await.unwrap();
    for next in ["2027-01-01", "2027-03-01", "2028-03-01", "2028-05-01", "2032-02-29"] {
        let next: UsageDate = next.parse().unwrap();
        let before = next.plus_days(-1);
        world.clients.advance_to(next.start() + Duration::minutes(20)).await.unwrap();
        let records = vec![
            at(&own, &format!("last of {before}"), next.start() - Duration::MILLISECOND, ("pv", "1")),
            at(&own, &format!("first of {next}"), next.start(), ("pv", "2")),
        ];
        let answer = send(&world, records).await;
        assert_eq!((answer.accepted_count, answer.late_count), (2, 0), "{:?}", answer.refusals);
        let by_hour = query(&world, asked(&own, before, next, Granularity::Hour)).await;
        let last_hour = (next.start() - Duration::HOUR).unix_timestamp();
        let expected =
            [(last_hour, vec!["pv 1".to_owned()]), (next.start().unix_timestamp(), vec!["pv 2".to_owned()])];
        assert_eq!(periods(&by_hour), expected, "{next}");
        own.journey.seal(before).await.unwrap();
        let sealed = query(&world, asked(&own, before, before, Granularity::Day)).await;
        assert_eq!((brief(&sealed.lines), sealed.sealed), (vec!["pv 1".to_owned()], true), "{before}");
        let months = query(&world, asked(&own, before, next, Granularity::Month)).await;
        assert_eq!(
            months.periods.len(),
            if before.date().month() == next.date().month() { 1 } else { 2 },
            "{next}"
        );
    }
    world.reconcile().await.unwrap();
}
