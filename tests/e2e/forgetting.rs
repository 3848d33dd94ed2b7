//! What is known of old days goes: how their items were fed, what trials had used, suspects, and points. Never too soon, and never before the seal.

use chassis::civil::UsageDate;
use chassis::wire::date;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tallystick_proto::workspace::v1::{
    Manifest, UsageServiceIngestBatchRequest, UsageServiceQueryRequest, UsageServiceQueryResponse,
    UsageServiceReportPointsRequest, UsageServiceReportPointsResponse, UsageServiceSealDayRequest,
};
use tests::{PATIENCE, Settled, World};
use time::Duration;

/// Sources, counters of trials, suspects and points of a day on which everything was used.
const ALL: [i64; 4] = [3, 1, 1, 1];
/// What is left of it after 40 days.
const POINTS: [i64; 4] = [0, 0, 0, 1];
const NOTHING: [i64; 4] = [0; 4];

async fn rows(world: &World, day: UsageDate) -> [i64; 4] {
    let mut admin = world.scratch.admin().await.unwrap();
    let sql = "select (select count(*) from workspace.usage_sources where usage_date = $1), \
               (select count(*) from workspace.trial_usage where usage_date = $1), \
               (select count(*) from workspace.usage_suspects where usage_date = $1), \
               (select count(*) from workspace.usage_points where usage_date = $1)";
    let counts: (i64, i64, i64, i64) =
        sqlx::query_as(sql).bind(day.date()).fetch_one(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    counts.into()
}

async fn report(
    world: &World,
    own: &Settled,
    hour: i64,
    (quantity, revision): (&str, i64),
) -> UsageServiceReportPointsResponse {
    let points = vec![own.point(hour, ("report", "", quantity), revision)];
    let request = UsageServiceReportPointsRequest { points };
    world.clients.usage.clone().report_points(request).await.unwrap().into_inner()
}

/// So many days after the customer's first: a record of its own, one of its trial, an id that was counted the night before, and a point.
async fn use_day(world: &World, own: &Settled, trial: &str, offset: i64) -> UsageDate {
    let day = own.day.plus_days(offset);
    world.clients.advance_to(day.start() + Duration::hours(12)).await.unwrap();
    let (minute, same) = (offset * 24 * 60, format!("same {offset}"));
    let tried = format!("tried {offset}");
    let tried = own.journey.record(trial, &tried, day.start() + Duration::HOUR, ("pv", "", "7"));
    let pv = ("pv", "", "1");
    for record in [own.record(&same, minute - 5, pv), own.record(&same, minute + 5, pv), tried] {
        let request = UsageServiceIngestBatchRequest { records: vec![record] };
        let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
        assert_eq!(answer.accepted_count, 1, "{answer:?}");
    }
    assert_eq!(report(world, own, 24 * offset + 3, ("5", 0)).await.accepted_count, 1);
    assert_eq!(rows(world, day).await, ALL);
    day
}

struct Days {
    own: Settled,
    /// Sealed.
    first: UsageDate,
    /// Three days later, and never sealed.
    open: UsageDate,
    /// Six days later; a point came after its seal.
    changed: UsageDate,
    /// Thirty days later, sealed.
    young: UsageDate,
}

async fn use_days(world: &World) -> Days {
    let own = world.customer("forgotten").await.unwrap();
    let trial = crate::trials::trial(world, &own, 1).await;
    let mut days = Vec::new();
    for (offset, is_sealed) in [(0, true), (3, false), (6, true), (30, true)] {
        let day = use_day(world, &own, &trial, offset).await;
        if is_sealed {
            world.clients.advance_to(day.end() + Duration::minutes(65)).await.unwrap();
            own.journey.seal(day).await.unwrap();
        }
        if offset == 6 {
            assert_eq!(report(world, &own, 24 * 6 + 3, ("9", 1)).await.late_count, 1);
        }
        days.push(day);
    }
    Days { own, first: days[0], open: days[1], changed: days[2], young: days[3] }
}

async fn query(world: &World, workspace: &str, day: UsageDate) -> UsageServiceQueryResponse {
    let request = UsageServiceQueryRequest {
        workspace_id: workspace.to_owned(),
        usage_date: Some(date(day)),
        ..Default::default()
    };
    world.clients.usage.clone().query(request).await.unwrap().into_inner()
}

fn brief(answer: &UsageServiceQueryResponse) -> Vec<String> {
    answer.lines.iter().map(|line| format!("{} {}", line.item, line.quantity)).collect()
}

async fn manifest(world: &World, day: UsageDate) -> Manifest {
    let request = UsageServiceSealDayRequest { usage_date: Some(date(day)) };
    world.clients.usage.clone().seal_day(request).await.unwrap().into_inner().manifest.unwrap()
}

async fn wait_for(world: &World, day: UsageDate, wanted: [i64; 4]) {
    let wait = async {
        while rows(world, day).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{day} has {:?}", rows(world, day).await);
}

/// DEC-73: after 40 days what nobody asks any more is gone, after 13 months the points are; what was sealed and what Query answers of it stay.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_sealed_day_goes_after_40_days_and_its_points_after_13_months() {
    let world = World::new().await.unwrap();
    let Days { own, first, open, changed, young } = use_days(&world).await;
    let (told, sealed) = (query(&world, own.workspace(), first).await, manifest(&world, first).await);
    assert_eq!((brief(&told), told.sealed), (vec!["pv 1".to_owned(), "report 5".to_owned()], true));
    assert_eq!(brief(&query(&world, own.workspace(), changed).await), ["pv 1", "report 9"]);

    world.clients.advance_to(first.plus_days(45).start() + Duration::hours(2)).await.unwrap();
    let world = world.restart().await.unwrap();
    wait_for(&world, first, POINTS).await;
    assert_eq!(rows(&world, open).await, ALL, "not sealed");
    assert_eq!(rows(&world, young).await, ALL, "not old enough");
    assert_eq!(query(&world, own.workspace(), first).await, told);
    assert_eq!(brief(&query(&world, own.workspace(), changed).await), ["pv 1", "report 9"]);

    world.clients.advance_to(changed.plus_days(398).start() + Duration::hours(2)).await.unwrap();
    let world = world.restart().await.unwrap();
    wait_for(&world, first, NOTHING).await;
    wait_for(&world, changed, NOTHING).await;
    wait_for(&world, young, POINTS).await;
    assert_eq!(rows(&world, open).await, ALL, "not sealed");
    assert_eq!(query(&world, own.workspace(), first).await, told);
    assert_eq!(manifest(&world, first).await, sealed);
    let changed = query(&world, own.workspace(), changed).await;
    assert_eq!((brief(&changed), changed.sealed), (vec!["pv 1".to_owned(), "report 5".to_owned()], true));
}

fn code(error: sqlx::Error) -> String {
    error.into_database_error().and_then(|error| error.code().map(Into::into)).unwrap_or_default()
}

async fn forget(app: &mut PgConnection, day: UsageDate, rows_max: i32) -> Result<i32, String> {
    let asked = sqlx::query_scalar("select workspace.forget_usage($1, $2)").bind(day.date()).bind(rows_max);
    let forgotten: Result<i32, sqlx::Error> = asked.fetch_one(app).await;
    forgotten.map_err(code)
}

/// DEC-73: whoever asks for it, and whatever the service's clock says.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_forgets_no_day_too_soon_and_none_that_is_not_sealed() {
    let world = World::new().await.unwrap();
    let Days { first, open, young, .. } = use_days(&world).await;
    let mut app = PgConnection::connect(&world.scratch.app_url("workspace")).await.unwrap();
    for table in ["usage_sources", "trial_usage", "usage_suspects", "usage_points"] {
        let delete = AssertSqlSafe(format!("delete from workspace.{table}"));
        let refused = sqlx::raw_sql(delete).execute(&mut app).await.unwrap_err();
        assert_eq!(code(refused), "42501", "the app role may not delete from {table}");
    }
    let refused = || Err::<i32, _>("55000".to_owned());
    // A day is kept for 40 days, and for an hour for those whose clock is behind.
    let kept_until = first.plus_days(41).start() + Duration::HOUR;
    for moment in [kept_until - Duration::minutes(65), kept_until - Duration::minutes(5)] {
        world.clients.advance_to(moment).await.unwrap();
        assert_eq!(forget(&mut app, first, 5_000).await, refused(), "{moment}");
    }
    assert_eq!(rows(&world, first).await, ALL);
    world.clients.advance_to(kept_until + Duration::MINUTE).await.unwrap();
    assert_eq!(forget(&mut app, first, 2).await, Ok(2), "no more at a time than is asked for");
    assert_eq!(forget(&mut app, first, 5_000).await, Ok(3));
    assert_eq!(forget(&mut app, first, 5_000).await, Ok(0));
    assert_eq!(rows(&world, first).await, POINTS);
    assert_eq!(forget(&mut app, young, 5_000).await, refused());

    world.clients.advance_to(first.plus_days(398).start() + Duration::minutes(55)).await.unwrap();
    assert_eq!(forget(&mut app, first, 5_000).await, Ok(0), "points are kept for 13 months");
    world.clients.advance_to(first.plus_days(398).start() + Duration::minutes(61)).await.unwrap();
    assert_eq!(forget(&mut app, first, 5_000).await, Ok(1));
    assert_eq!(rows(&world, first).await, NOTHING);
    assert_eq!(forget(&mut app, open, 5_000).await, refused(), "what is not sealed is kept for ever");
    assert_eq!(rows(&world, open).await, ALL);
}
