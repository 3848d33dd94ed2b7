//! What a trial may use: its quotas refuse per record, precisely, and let everything else through.

use chassis::wire::timestamp;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::workspace::{Plan, State};
use tallystick_proto::workspace::v1::{
    UsagePoint, UsageRecord, UsageServiceIngestBatchRequest, UsageServiceIngestBatchResponse,
    UsageServiceListMetersRequest, UsageServiceReportPointsRequest, UsageServiceReportPointsResponse,
    WorkspaceServiceCreateRequest, WorkspaceServiceSetRetentionRequest,
};
use tests::{Settled, World};
use time::Duration;
use uuid::Uuid;

use crate::bindings::{id, refusal, workspace};

/// A trial of the customer's owner.
pub async fn trial(world: &World, own: &Settled, number: u128) -> String {
    let create = WorkspaceServiceCreateRequest {
        request_id: id(number),
        owner_console_account_id: own.registration.console_account_id.clone(),
        name: "Trial".to_owned(),
        site: 1,
        language: 0,
    };
    let created = world.clients.workspaces.clone().create(create).await.unwrap().into_inner();
    created.workspace.unwrap().workspace_id
}

/// A record of the trial; equal names are equal event ids.
fn record(own: &Settled, trial: &str, name: &str, minute: i64, usage: (&str, &str)) -> UsageRecord {
    let time = own.day.start() + Duration::minutes(minute);
    own.journey.record(trial, name, time, (usage.0, "", usage.1))
}

async fn send(world: &World, records: Vec<UsageRecord>) -> UsageServiceIngestBatchResponse {
    let request = UsageServiceIngestBatchRequest { records };
    world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
}

/// Accepted and known records, and what was refused by index.
fn told(answer: &UsageServiceIngestBatchResponse) -> (i32, i32, Vec<(i32, ErrorReason)>) {
    let refusals = answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason())).collect();
    (answer.accepted_count, answer.duplicate_count, refusals)
}

async fn used(world: &World, trial: &str) -> Vec<(i16, i64)> {
    let mut admin = world.scratch.admin().await.unwrap();
    let sql = "select meter_id, quantity from workspace.trial_usage where workspace_id = $1 and quantity > 0 order by 1";
    let id: Uuid = trial.trim_start_matches("wksp_").parse().unwrap();
    sqlx::query_as(sql).bind(id).fetch_all(&mut admin).await.unwrap()
}

/// PLAN-3, PLAN-5, PLAN-6, DEC-14: up to the quota to the unit, each item for itself; what was counted stays; at 00:00 a new quota begins.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_refuse_precisely_what_would_pass_them() {
    let world = World::new().await.unwrap();
    let own = world.customer("sampler").await.unwrap();
    let id = trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::MINUTE).await.unwrap();
    let used_up = ErrorReason::TrialQuotaUsedUp;
    let r = |name: &str, usage| record(&own, &id, name, 60, usage);
    let first =
        send(&world, vec![r("a", ("trace", "7999")), r("b", ("trace", "2")), r("c", ("trace", "1"))]).await;
    assert_eq!(told(&first), (2, 0, vec![(1, used_up)]), "{first:?}");
    assert!(first.refusals[0].message.contains("8000"), "{first:?}");
    let again =
        send(&world, vec![r("c", ("trace", "1")), r("a", ("trace", "7999")), r("b", ("trace", "2"))]).await;
    assert_eq!(told(&again), (0, 2, vec![(2, used_up)]), "what was counted before is no new usage");
    let zero = send(&world, vec![r("d", ("trace", "0"))]).await;
    assert_eq!(told(&zero), (1, 0, vec![]), "nothing passes nothing");
    // Ten spans are a trace; each item has a quota of its own; infrastructure has none.
    let others = vec![
        r("e", ("trace_span", "80000")),
        r("f", ("trace_span", "1")),
        r("g", ("network_host", "1000000")),
        r("h", ("timeseries", "3000")),
        r("i", ("timeseries", "3000")),
        r("j", ("timeseries", "3001")),
        r("k", ("sms", "1")),
        r("l", ("forward_external", "1")),
        r("m", ("profile", "60")),
        r("m", ("profile", "60")),
        r("n", ("profile", "1")),
    ];
    let not_in_trial = ErrorReason::NotInTrial;
    let answer = send(&world, others).await;
    let refused = vec![(1, used_up), (5, used_up), (6, not_in_trial), (7, not_in_trial), (10, used_up)];
    assert_eq!(told(&answer), (5, 1, refused), "{answer:?}");
    assert_eq!(used(&world, &id).await, [(7, 8000), (8, 80_000), (9, 60)]);
    world.clients.advance_to(own.day.end() + Duration::HOUR).await.unwrap();
    let next = send(&world, vec![record(&own, &id, "next", 24 * 60, ("trace", "8000"))]).await;
    assert_eq!(told(&next), (1, 0, vec![]), "a day has its own quota");
    let commercial = send(&world, vec![own.record("own", 60, ("sms", "", "1"))]).await;
    assert_eq!(told(&commercial), (1, 0, vec![]), "whoever pays has no quota");
}

/// Batches that race for the rest of a quota take it once.
#[tokio::test(flavor = "multi_thread")]
async fn racing_batches_fill_a_quota_to_the_unit() {
    let world = World::new().await.unwrap();
    let own = world.customer("racer").await.unwrap();
    let trial = trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::MINUTE).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..8 {
        let records = (0..50)
            .map(|n| record(&own, &trial, &format!("{} {n}", call / 2), 60, ("profile", "1")))
            .collect();
        let mut usage = world.clients.usage.clone();
        calls.spawn(async move {
            let request = UsageServiceIngestBatchRequest { records };
            usage.ingest_batch(request).await.unwrap().into_inner()
        });
    }
    let mut accepted = 0;
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        accepted += answer.accepted_count;
        let all =
            answer.accepted_count + answer.duplicate_count + i32::try_from(answer.refusals.len()).unwrap();
        assert_eq!(all, 50);
    }
    assert_eq!(accepted, 60);
    assert_eq!(used(&world, &trial).await, [(9, 60)]);
}

/// Hourly points are held to the same quota; a higher revision takes what it adds, and gives back what it takes away.
#[tokio::test(flavor = "multi_thread")]
async fn points_are_held_to_the_same_quota() {
    let world = World::new().await.unwrap();
    let own = world.customer("pointer").await.unwrap();
    let trial = trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::MINUTE).await.unwrap();
    let point = |hour: i64, quantity: &str, revision: i64| UsagePoint {
        workspace_id: trial.clone(),
        meter: "profile".to_owned(),
        dimension: String::new(),
        retention_days: 0,
        hour_time: Some(timestamp(own.day.start() + Duration::hours(hour))),
        quantity: quantity.to_owned(),
        revision,
        count_from_time: None,
    };
    let report = async |points: Vec<UsagePoint>| -> UsageServiceReportPointsResponse {
        let request = UsageServiceReportPointsRequest { points };
        world.clients.usage.clone().report_points(request).await.unwrap().into_inner()
    };
    let refused = |answer: &UsageServiceReportPointsResponse| {
        let reasons = answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason()));
        (answer.accepted_count, answer.superseded_count, reasons.collect::<Vec<_>>())
    };
    let used_up = ErrorReason::TrialQuotaUsedUp;
    let first = report(vec![point(1, "40", 1), point(2, "21", 1), point(2, "20", 2), point(3, "1", 1)]).await;
    assert_eq!(refused(&first), (2, 0, vec![(1, used_up), (3, used_up)]), "{first:?}");
    let replay = report(vec![point(1, "40", 1)]).await;
    assert_eq!(refused(&replay), (0, 1, vec![]));
    let second = report(vec![point(1, "10", 2), point(3, "30", 1), point(4, "1", 1)]).await;
    assert_eq!(refused(&second), (2, 0, vec![(2, used_up)]), "{second:?}");
    assert_eq!(used(&world, &trial).await, [(9, 60)]);
}

/// The quotas can be read; a trial does not choose its retention (PLAN-4, WS-13).
#[tokio::test(flavor = "multi_thread")]
async fn quotas_can_be_read_and_a_trial_keeps_its_retention() {
    let world = World::new().await.unwrap();
    let own = world.customer("reader").await.unwrap();
    let trial = trial(&world, &own, 1).await;
    let request = UsageServiceListMetersRequest::default();
    let meters = world.clients.usage.clone().list_meters(request).await.unwrap().into_inner().meters;
    let quota = |word: &str| meters.iter().find(|meter| meter.meter == word).unwrap().trial_quota;
    assert_eq!((quota("rum_event"), quota("sms"), quota("scan")), (Some(200_000), Some(0), None));
    let request = |workspace_id: &str, number| WorkspaceServiceSetRetentionRequest {
        request_id: id(number),
        workspace_id: workspace_id.to_owned(),
        data_type: 2,
        dimension: String::new(),
        days: 14,
    };
    let mut workspaces = world.clients.workspaces.clone();
    refusal(workspaces.set_retention(request(&trial, 2)).await, "NOT_IN_TRIAL");
    workspaces.set_retention(request(own.workspace(), 3)).await.expect("of a commercial workspace");
}

/// DEC-12: a trial has no last day.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_never_ends() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("everlasting").await.unwrap();
    let id = trial(&world, &own, 1).await;
    let later = own.day.start() + Duration::days(400);
    world.clients.advance_to(later).await.unwrap();
    let found = workspace(&world, &id).await;
    assert_eq!((found.plan(), found.state()), (Plan::Trial, State::Open));
    let record = own.journey.record(&id, "late", later - Duration::MINUTE, ("profile", "", "60"));
    assert_eq!(told(&send(&world, vec![record]).await), (1, 0, vec![]));
}

/// Calls that race for a place that none of them knows count it once.
#[tokio::test(flavor = "multi_thread")]
async fn racing_points_of_a_new_place_are_counted_as_the_one_that_holds() {
    let world = World::new().await.unwrap();
    let own = world.customer("place-racer").await.unwrap();
    let trial = trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::MINUTE).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for hour in 0..20_i64 {
        for (quantity, revision) in [("30", 1), ("1", 2), ("20", 1), ("1", 2)] {
            let point = UsagePoint {
                workspace_id: trial.clone(),
                meter: "profile".to_owned(),
                dimension: String::new(),
                retention_days: 0,
                hour_time: Some(timestamp(own.day.start() + Duration::hours(hour))),
                quantity: quantity.to_owned(),
                revision,
                count_from_time: None,
            };
            let mut usage = world.clients.usage.clone();
            calls.spawn(async move {
                let request = UsageServiceReportPointsRequest { points: vec![point] };
                usage.report_points(request).await.unwrap();
            });
        }
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let mut admin = world.scratch.admin().await.unwrap();
    let sql = "select sum(quantity)::bigint from workspace.usage_points where workspace_id = $1";
    let id: Uuid = trial.trim_start_matches("wksp_").parse().unwrap();
    let sum: i64 = sqlx::query_scalar(sql).bind(id).fetch_one(&mut admin).await.unwrap();
    assert_eq!(used(&world, &trial).await, [(9, sum)]);
    assert!(sum <= 60, "{sum}");
}
