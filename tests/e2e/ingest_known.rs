//! Few records of what is known are taken by one statement, and by nothing that has changed since.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::{
    UsageRecord, UsageServiceIngestBatchRequest, UsageServiceIngestBatchResponse,
};
use tests::{Settled, World};
use time::Duration;
use uuid::Uuid;

/// Only who holds the fences by itself needs this.
const LONG_WAY: &str = "function workspace.hold_intakes(date[], uuid[])";

async fn send(world: &World, records: Vec<UsageRecord>) -> UsageServiceIngestBatchResponse {
    let request = UsageServiceIngestBatchRequest { records };
    world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
}

fn told(answer: &UsageServiceIngestBatchResponse) -> (i32, i32, i32, Vec<(i32, ErrorReason)>) {
    let refusals = answer.refusals.iter().map(|refusal| (refusal.index, refusal.reason())).collect();
    (answer.accepted_count, answer.duplicate_count, answer.late_count, refusals)
}

async fn execute(admin: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(admin).await.unwrap();
}

fn views(own: &Settled, place: &str, minute: i64, quantity: &str) -> UsageRecord {
    own.record(place, minute, ("pv", "", quantity))
}

/// A customer at 05:00 of its first full day, one record of which the service has counted.
async fn known(world: &World, name: &str) -> (Settled, PgConnection) {
    let own = world.customer(name).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(5)).await.unwrap();
    let first = send(world, vec![views(&own, "first", 60, "1")]).await;
    assert_eq!(told(&first), (1, 0, 0, vec![]));
    (own, world.scratch.admin().await.unwrap())
}

/// With the long way barred it is seen that there is a short one; what is not so plain is sent again on the long one.
#[tokio::test(flavor = "multi_thread")]
async fn few_records_of_what_is_known_are_taken_by_one_statement() {
    let world = World::new().await.unwrap();
    let (own, mut admin) = known(&world, "plain").await;
    execute(&mut admin, &format!("revoke execute on {LONG_WAY} from tallystick_workspace_app")).await;
    let malformed = UsageRecord { event_time: None, ..views(&own, "malformed", 60, "1") };
    let batch = vec![
        views(&own, "a", 61, "10"),
        malformed,
        views(&own, "a", 61, "10"),
        views(&own, "a", 61, "11"),
        views(&own, "ahead", 5 * 60 + 6, "1"),
        views(&own, "b", 121, "100"),
    ];
    let answer = send(&world, batch.clone()).await;
    let refused = vec![
        (1, ErrorReason::RecordMalformed),
        (3, ErrorReason::EventIdReused),
        (4, ErrorReason::TooFarAhead),
    ];
    assert_eq!(told(&answer), (2, 1, 0, refused.clone()), "{answer:?}");
    let long_way = async |record: UsageRecord| {
        let request = UsageServiceIngestBatchRequest { records: vec![record] };
        world.clients.usage.clone().ingest_batch(request).await.map(|answer| told(&answer.into_inner()))
    };
    let other_item = own.record("other", 62, ("rum_event", "", "3000"));
    let near_midnight = views(&own, "near", 30, "1000");
    assert!(long_way(other_item.clone()).await.is_err(), "nobody has said how what this meter feeds is fed");
    assert!(long_way(near_midnight.clone()).await.is_err(), "the neighbouring day may have it");
    assert!(long_way(views(&own, "b", 121, "100")).await.is_err(), "it is there");
    execute(&mut admin, &format!("grant execute on {LONG_WAY} to tallystick_workspace_app")).await;
    assert_eq!(long_way(other_item).await.unwrap(), (1, 0, 0, vec![]));
    assert_eq!(long_way(near_midnight).await.unwrap(), (1, 0, 0, vec![]));
    let again = send(&world, batch).await;
    assert_eq!(told(&again), (0, 3, 0, refused), "{again:?}");
    world.quiet().await.unwrap();
    let hours: Vec<(i16, i64, i64)> = sqlx::query_as(
        "select hour, sum::bigint, record_count from workspace.hourly_usage h join workspace.meters m using (meter_id) \
         where m.meter = 'pv' order by 1",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(hours, [(0, 1_000, 1), (1, 11, 2), (2, 100, 1)]);
    world.reconcile().await.unwrap();
}

/// What is remembered of a workspace takes nothing and refuses nothing once it is another; nor does a day that was closed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_since_is_seen() {
    let world = World::new().await.unwrap();
    let (own, mut admin) = known(&world, "changing").await;
    let both = |name: &str| {
        vec![views(&own, &format!("{name} early"), 61, "1"), views(&own, &format!("{name} later"), 190, "1")]
    };
    assert_eq!(told(&send(&world, both("open")).await), (2, 0, 0, vec![]));
    let close = format!(
        "insert into workspace.closures (workspace_id, cause, closed_from, created_at) select workspace_id, 'UNBOUND', \
         timestamptz '{} 03:00+08', now() from workspace.workspaces",
        own.day
    );
    execute(&mut admin, &close).await;
    let refused = vec![(1, ErrorReason::WorkspaceClosed)];
    assert_eq!(told(&send(&world, both("closed")).await), (1, 0, 0, refused.clone()));
    let only_refused = both("closed").into_iter().skip(1).collect();
    let refused_alone = vec![(0, ErrorReason::WorkspaceClosed)];
    assert_eq!(told(&send(&world, only_refused).await), (0, 0, 0, refused_alone));
    execute(&mut admin, "delete from workspace.closures").await;
    let reopened = both("closed").into_iter().skip(1).collect();
    assert_eq!(
        told(&send(&world, reopened).await),
        (1, 0, 0, vec![]),
        "what is refused is asked for as well"
    );
    // From one who pays to a trial whose upgrade is to come: what it used is held to a quota.
    execute(
        &mut admin,
        "update workspace.workspaces set commercial_from = commercial_from + interval '2 days'",
    )
    .await;
    let trial = async |name: &str| told(&send(&world, vec![views(&own, name, 61, "1500")]).await);
    assert_eq!(trial("trial").await, (1, 0, 0, vec![]));
    let used_up = (0, 0, 0, vec![(0, ErrorReason::TrialQuotaUsedUp)]);
    assert_eq!(
        trial("trial again").await,
        used_up,
        "2,000 page views a day, and each is counted against them"
    );
    execute(
        &mut admin,
        "update workspace.workspaces set commercial_from = commercial_from - interval '2 days'",
    )
    .await;
    world.clients.advance_to(own.day.end() + Duration::minutes(65)).await.unwrap();
    assert_eq!(told(&send(&world, both("ended")).await), (2, 0, 0, vec![]));
    own.journey.seal(own.day).await.unwrap();
    assert_eq!(told(&send(&world, both("sealed")).await), (2, 0, 2, vec![]));
    world.reconcile().await.unwrap();
}

/// Whatever of a workspace decides about its usage is in its fingerprint.
#[tokio::test(flavor = "multi_thread")]
async fn the_fingerprint_of_a_workspace_is_another_after_every_change() {
    let world = World::new().await.unwrap();
    let (own, mut admin) = known(&world, "fingerprints").await;
    let closure = |cause: &str| {
        format!(
            "insert into workspace.closures (workspace_id, cause, closed_from, created_at) \
             select workspace_id, '{cause}', timestamptz '{} 03:00+08', now() from workspace.workspaces",
            own.day
        )
    };
    let changes = [
        "update workspace.workspaces set site = 'CN2_NINGXIA'".to_owned(),
        "update workspace.workspaces set created_at = created_at - interval '1 microsecond'".to_owned(),
        "update workspace.workspaces set commercial_from = commercial_from + interval '1 hour'".to_owned(),
        "update workspace.workspaces set commercial_from = null".to_owned(),
        closure("LOCKED"),
        closure("UNBOUND"),
        "update workspace.closures set closed_from = closed_from - interval '1 hour' where cause = 'LOCKED'".to_owned(),
        "update workspace.closures set closed_until = closed_from + interval '1 hour' where cause = 'LOCKED'".to_owned(),
        "delete from workspace.closures where cause = 'UNBOUND'".to_owned(),
        "update workspace.bindings set currency = 'USD'".to_owned(),
        "update workspace.bindings set effective_from = effective_from + interval '1 hour'".to_owned(),
        "update workspace.bindings set effective_until = effective_from + interval '9 hours'".to_owned(),
        "insert into workspace.bindings (workspace_id, billing_account_id, currency, effective_from, created_at) \
         select workspace_id, gen_random_uuid(), 'USD', effective_until, now() from workspace.bindings"
            .to_owned(),
        "delete from workspace.bindings".to_owned(),
    ];
    let mut tx = admin.begin().await.unwrap();
    let mut seen = Vec::new();
    for change in [String::new()].iter().chain(&changes) {
        execute(&mut tx, change).await;
        let states: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "select s.* from workspace.workspaces w, workspace.intake_states(array[w.workspace_id]) s",
        )
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        assert_eq!(states.len(), 1);
        assert!(!seen.contains(&states[0].1), "{change} is not in the fingerprint");
        seen.push(states[0].1);
    }
    execute(&mut tx, "update workspace.workspaces set name = 'Other'").await;
    let after: Uuid = sqlx::query_scalar(
        "select state from workspace.workspaces w, workspace.intake_states(array[w.workspace_id])",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(seen.last(), Some(&after), "a name decides nothing");
    let none: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select * from workspace.intake_states(array[gen_random_uuid()])")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    assert!(none.is_empty(), "{none:?}");
    tx.rollback().await.unwrap();
}

/// A copy of the first record by another id, if the state is the one that is given.
fn take(state: &str, event_id: &str) -> String {
    format!(
        "select workspace.take_records(array[r.usage_date], array[r.workspace_id], array[{state}], \
           array[{event_id}], array[r.workspace_id], array[r.usage_date], array[r.event_time], array[r.quantity], \
           array[r.fingerprint], array[r.meter_id], array[r.dimension], array[r.workspace_id], array[r.usage_date], \
           array[r.meter_id], array[r.dimension], array[1::smallint], array[1::numeric], array[1::bigint], array[1::bigint]) \
         from (select * from workspace.usage_records order by event_id limit 1) r, \
           workspace.intake_states(array[r.workspace_id]) s"
    )
}

async fn counts(admin: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "select (select count(*) from workspace.usage_records), (select coalesce(sum(record_count), 0)::bigint from ( \
           select record_count from workspace.usage_deltas union all select record_count from workspace.hourly_usage) h)",
    )
    .fetch_one(admin)
    .await
    .unwrap()
}

/// The statement takes all or nothing, and waits for whoever closes the day.
#[tokio::test(flavor = "multi_thread")]
async fn the_statement_takes_all_or_nothing() {
    let world = World::new().await.unwrap();
    let (own, mut admin) = known(&world, "statement").await;
    let mut other = world.scratch.admin().await.unwrap();
    let taken = async |connection: &mut PgConnection, state: &str, event_id: &str| {
        let taken = sqlx::query_scalar::<_, String>(AssertSqlSafe(take(state, event_id)));
        taken.fetch_one(connection).await.map_err(|error| error.to_string())
    };
    world.quiet().await.unwrap();
    assert_eq!(counts(&mut admin).await, (1, 1));
    for stale in ["gen_random_uuid()", "null::uuid"] {
        assert_eq!(
            taken(&mut admin, stale, "gen_random_uuid()").await.as_deref(),
            Ok("WORKSPACE_CHANGED"),
            "{stale}"
        );
    }
    let known = taken(&mut admin, "s.state", "r.event_id").await.unwrap_err();
    assert!(known.contains("_pkey"), "{known}");
    assert_eq!(counts(&mut admin).await, (1, 1));
    assert_eq!(taken(&mut admin, "s.state", "gen_random_uuid()").await.as_deref(), Ok("TAKEN"));
    assert_eq!(counts(&mut admin).await, (2, 2));

    let mut closing = admin.begin().await.unwrap();
    let day = own.day.date();
    sqlx::query("select pg_advisory_xact_lock(3489, $1)")
        .bind(day.to_julian_day())
        .execute(&mut *closing)
        .await
        .unwrap();
    let waits = tokio::spawn(async move {
        let taken = sqlx::query_scalar::<_, String>(AssertSqlSafe(take("s.state", "gen_random_uuid()")));
        taken.fetch_one(&mut other).await
    });
    loop {
        let waiting =
            "select count(*) from pg_locks where locktype = 'advisory' and classid = 3489 and not granted";
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *closing).await.unwrap();
        if count > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    sqlx::query(
        "insert into workspace.day_fences (usage_date, state, closed_at) values ($1, 'CLOSING', now())",
    )
    .bind(day)
    .execute(&mut *closing)
    .await
    .unwrap();
    closing.commit().await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "DAY_CLOSED", "who waited sees what was closed");
    assert_eq!(counts(&mut admin).await, (2, 2));
}
