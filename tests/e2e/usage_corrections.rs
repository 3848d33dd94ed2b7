//! What was counted can be looked up, and what should not have been can be taken back: first shown, then done as shown.

use chassis::wire::date;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_lookup_response::State;
use tallystick_proto::workspace::v1::{
    LateUsage, SealedLine, UsageRecord, UsageServiceIngestBatchRequest, UsageServiceIngestBatchResponse,
    UsageServiceListLateUsageRequest, UsageServiceListSuspectUsageRequest, UsageServiceLookupRequest,
    UsageServiceLookupResponse, UsageServiceQueryRequest, UsageServiceVoidRequest, UsageServiceVoidResponse,
};
use tests::{Settled, World};
use time::Duration;

use crate::bindings::refusal;

async fn send(world: &World, records: Vec<UsageRecord>) -> UsageServiceIngestBatchResponse {
    let request = UsageServiceIngestBatchRequest { records };
    world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
}

fn record(own: &Settled, name: &str, minute: i64, usage: (&str, &str)) -> UsageRecord {
    let time = own.day.start() + Duration::minutes(minute);
    own.journey.record(own.workspace(), name, time, (usage.0, "", usage.1))
}

async fn lookup(world: &World, own: &Settled, event_id: &str) -> UsageServiceLookupResponse {
    let request = UsageServiceLookupRequest {
        workspace_id: own.workspace().to_owned(),
        event_id: event_id.to_owned(),
        usage_date: Some(date(own.day)),
    };
    world.clients.usage.clone().lookup(request).await.unwrap().into_inner()
}

fn void(own: &Settled, event_ids: &[&str], confirmation: &str) -> UsageServiceVoidRequest {
    UsageServiceVoidRequest {
        workspace_id: own.workspace().to_owned(),
        usage_date: Some(date(own.day)),
        event_ids: event_ids.iter().map(|id| (*id).to_owned()).collect(),
        reason: "sent by a test rig".to_owned(),
        confirmation: confirmation.to_owned(),
    }
}

async fn voided(world: &World, request: UsageServiceVoidRequest) -> UsageServiceVoidResponse {
    world.clients.usage.clone().void(request).await.unwrap().into_inner()
}

async fn used(world: &World, own: &Settled) -> Vec<(String, String)> {
    let request = UsageServiceQueryRequest {
        workspace_id: own.workspace().to_owned(),
        usage_date: Some(date(own.day)),
        ..Default::default()
    };
    let lines = world.clients.usage.clone().query(request).await.unwrap().into_inner().lines;
    lines.into_iter().map(|SealedLine { item, quantity, .. }| (item, quantity)).collect()
}

async fn late(world: &World, own: &Settled) -> Vec<LateUsage> {
    let request = UsageServiceListLateUsageRequest { usage_date: Some(date(own.day)), ..Default::default() };
    world.clients.usage.clone().list_late_usage(request).await.unwrap().into_inner().late_usage
}

fn line(item: &str, quantity: &str) -> (String, String) {
    (item.to_owned(), quantity.to_owned())
}

/// Before the close of the day what is taken back is as if never counted, of sums and of maxima; a resend counts nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_before_the_seal_was_never_counted() {
    let world = World::new().await.unwrap();
    let own = world.customer("voider").await.unwrap();
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let records = vec![
        record(&own, "a", 1, ("pv", "100")),
        record(&own, "b", 2, ("pv", "23")),
        record(&own, "c", 3, ("network_host", "9")),
        record(&own, "d", 4, ("network_host", "7")),
    ];
    assert_eq!(send(&world, records.clone()).await.accepted_count, 4);
    let [a, c, none] =
        [&records[0].event_id, &records[2].event_id, &record(&own, "z", 1, ("pv", "1")).event_id];
    let dump = world.dump().await.unwrap();
    let shown = voided(&world, void(&own, &[a, c, none], "")).await;
    assert!(shown.dry_run && !shown.late);
    assert_eq!((shown.voided_count, shown.already_voided_count), (2, 0));
    assert_eq!(shown.unknown_event_ids, std::slice::from_ref(none));
    let quantities: Vec<_> =
        shown.quantities.iter().map(|q| (q.meter.as_str(), q.quantity.as_str())).collect();
    assert_eq!(quantities, [("network_host", "9"), ("pv", "100")]);
    let wrong = world.clients.usage.clone().void(void(&own, &[a, none], &shown.confirmation)).await;
    refusal(wrong, "VOID_NOT_CONFIRMED");
    assert_eq!(world.dump().await.unwrap(), dump, "a dry run or a refusal changed something");

    let done = voided(&world, void(&own, &[a, c, none], &shown.confirmation)).await;
    assert_eq!((done.dry_run, done.voided_count), (false, 2));
    assert_eq!(used(&world, &own).await, [line("network_host", "7"), line("pv", "23")]);
    let again = voided(&world, void(&own, &[a, c, none], &shown.confirmation)).await;
    assert_eq!((again.voided_count, again.already_voided_count), (0, 2), "once");
    let resent = send(&world, records.clone()).await;
    assert_eq!((resent.accepted_count, resent.duplicate_count), (0, 4), "its id stays known");
    let states = [a, &records[1].event_id, none];
    let mut known = Vec::new();
    for event_id in states {
        known.push(lookup(&world, &own, event_id).await.state());
    }
    assert_eq!(known, [State::Voided, State::Counted, State::NotCounted]);
    let counted = lookup(&world, &own, &records[1].event_id).await;
    assert_eq!((counted.record, counted.late), (Some(records[1].clone()), false));
    assert_eq!(lookup(&world, &own, a).await.void_reason, "sent by a test rig");

    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    own.journey.seal(own.day).await.unwrap();
    assert!(late(&world, &own).await.is_empty());
    world.reconcile().await.unwrap();
}

/// After it the sealed day stays, and the day is listed for an adjustment.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_after_the_seal_leaves_the_sealed_day() {
    let world = World::new().await.unwrap();
    let own = world.customer("regretful").await.unwrap();
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let records = vec![record(&own, "a", 1, ("pv", "100")), record(&own, "b", 2, ("pv", "23"))];
    send(&world, records.clone()).await;
    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    let sealed = own.journey.seal(own.day).await.unwrap();
    let a = &records[0].event_id;
    let shown = voided(&world, void(&own, &[a], "")).await;
    assert!(shown.late);
    voided(&world, void(&own, &[a], &shown.confirmation)).await;
    assert_eq!(used(&world, &own).await, [line("pv", "23")], "what is accepted now");
    assert_eq!(own.journey.seal(own.day).await.unwrap(), sealed, "the sealed day stays");
    let listed = late(&world, &own).await;
    assert_eq!(listed.iter().map(|late| (late.void_count, late.record_count)).collect::<Vec<_>>(), [(1, 0)]);
    let came_late = record(&own, "c", 3, ("pv", "5"));
    assert_eq!(send(&world, vec![came_late]).await.late_count, 1);
    assert_eq!(used(&world, &own).await, [line("pv", "28")]);
    assert_eq!(late(&world, &own).await[0].record_count, 1);
    world.reconcile().await.unwrap();
}

/// PLAN-3: what a trial took back it may use again.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_gets_back_what_is_taken_back() {
    let world = World::new().await.unwrap();
    let mut own = world.customer("second-try").await.unwrap();
    own.registration.workspace_id = crate::trials::trial(&world, &own, 1).await;
    world.clients.advance_to(own.day.end() - Duration::HOUR).await.unwrap();
    let all = record(&own, "all", 60, ("pv", "2000"));
    assert_eq!(send(&world, vec![all.clone()]).await.accepted_count, 1);
    let one = record(&own, "one", 61, ("pv", "1"));
    let refused = send(&world, vec![one.clone()]).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::TrialQuotaUsedUp);
    let shown = voided(&world, void(&own, &[&all.event_id], "")).await;
    voided(&world, void(&own, &[&all.event_id], &shown.confirmation)).await;
    assert_eq!(send(&world, vec![one]).await.accepted_count, 1);
    world.reconcile().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_that_is_not_right_is_refused_and_changes_nothing() {
    let world = World::new().await.unwrap();
    let own = world.customer("careless").await.unwrap();
    let dump = world.dump().await.unwrap();
    let known = record(&own, "a", 1, ("pv", "1")).event_id;
    let mut usage = world.clients.usage.clone();
    let nobody = UsageServiceVoidRequest {
        workspace_id: format!("wksp_{}", crate::bindings::id(7)),
        ..void(&own, &[&known], "")
    };
    refusal(usage.void(nobody).await, "OBJECT_NOT_FOUND");
    let bad = [
        void(&own, &[], ""),
        void(&own, &["x"], ""),
        UsageServiceVoidRequest { reason: String::new(), ..void(&own, &[&known], "") },
        UsageServiceVoidRequest { usage_date: None, ..void(&own, &[&known], "") },
        UsageServiceVoidRequest { event_ids: vec![known.clone(); 1_001], ..void(&own, &[], "") },
    ];
    for request in bad {
        refusal(usage.void(request.clone()).await, "FIELD_INVALID");
    }
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// The same id on both sides of a midnight is counted twice and listed: perhaps one event.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_on_both_sides_of_midnight_is_counted_and_listed() {
    let world = World::new().await.unwrap();
    let own = world.customer("night-owl").await.unwrap();
    world.clients.advance_to(own.day.end() + Duration::minutes(10)).await.unwrap();
    let before = record(&own, "same", 24 * 60 - 5, ("pv", "1"));
    let after = record(&own, "same", 24 * 60 + 5, ("pv", "1"));
    let at_noon = record(&own, "noon", 12 * 60, ("pv", "1"));
    let far = record(&own, "noon", 24 * 60 + 5, ("pv", "1"));
    for one in [before.clone(), after, at_noon, far] {
        assert_eq!(send(&world, vec![one]).await.accepted_count, 1);
    }
    let request = UsageServiceListSuspectUsageRequest {
        usage_date: Some(date(own.day.plus_days(1))),
        ..Default::default()
    };
    let suspects =
        world.clients.usage.clone().list_suspect_usage(request).await.unwrap().into_inner().suspects;
    let found: Vec<_> = suspects.iter().map(|suspect| (&suspect.event_id, suspect.other_date)).collect();
    assert_eq!(found, [(&before.event_id, Some(date(own.day)))]);
}
