//! Partitions of days long past are made and dropped while records are written: whether ingest waits for it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chassis::civil::UsageDate;
use sqlx::postgres::PgConnection;

use crate::figures::Figures;
use crate::ingest::{closed_loop, open_loop};
use crate::stage::Stage;

/// Records per batch of the closed loop.
const BATCH: usize = 1_000;
/// How long the closed loop runs.
const CLOSED: Duration = Duration::from_secs(4);
/// Between two days.
const PAUSE: Duration = Duration::from_millis(200);
/// Days in a second at most, by that pause.
const DAYS_PER_SECOND: i64 = 5;
/// The service keeps records so many days, and only older days are touched.
const KEPT_DAYS: i64 = 40;
/// The first so many days that are dropped are not empty.
const FULL_DAYS: i64 = 20;
/// Records of each.
const ROWS: i64 = 100_000;

const FILL: &str = "insert into workspace.usage_records (event_id, workspace_id, usage_date, event_time, quantity, fingerprint, meter_id, is_late, \
      dimension) \
    select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '00000000-0000-7000-8000-000000000000', $1::date, \
      ($1::date + time '12:00') at time zone interval '08:00', 1, n, 10, false, '' from generate_series(1, $2) as n";

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, in_flight: usize) -> anyhow::Result<()> {
    let days_max = i64::try_from(time.as_secs())? * DAYS_PER_SECOND + 1;
    let first = UsageDate::of(stage.now()).plus_days(-KEPT_DAYS - 1 - FULL_DAYS - days_max);
    let mut admin = stage.admin().await?;
    for day in 0..FULL_DAYS {
        let day = first.plus_days(day);
        make(&mut admin, day).await?;
        sqlx::query(FILL).bind(day.date()).bind(ROWS).execute(&mut admin).await?;
    }
    closed_loop(stage, Duration::from_secs(2), BATCH, in_flight).await?;
    let closed = closed_loop(stage, CLOSED, BATCH, in_flight).await?;
    println!("ingest alone: {} records/s", closed.rate());
    let rate = closed.rate() / 2;
    stage.settle().await?;
    let quiet = open_loop(stage, time, rate).await?;
    show("quiet, open loop at half of it", &quiet);
    stage.settle().await?;
    let housework = tokio::spawn(keep_house(admin, first, time));
    let busy = open_loop(stage, time, rate).await?;
    let housework = housework.await??;
    show("while partitions are made and dropped", &busy);
    println!("  p99 is {} of what it is quiet", busy.p99_ratio(&quiet));
    housework.show();
    ensure!(housework.dropped > 0, "no partition was dropped");
    Ok(())
}

fn show(name: &str, figures: &Figures) {
    figures.show(name);
    println!("  slowest {} ms", figures.slowest());
}

/// What became of partitions.
#[derive(Debug, Default)]
struct Housework {
    made: Figures,
    detached: Figures,
    given_up: u64,
    dropped: u64,
}

impl Housework {
    fn show(&self) {
        self.made.show_calls("  days whose partitions were made");
        self.detached.show_calls("  partitions that were detached");
        println!(
            "  {} partitions were dropped; {} attempts were given up, for ingest would have waited",
            self.dropped, self.given_up
        );
    }
}

async fn make(admin: &mut PgConnection, day: UsageDate) -> anyhow::Result<()> {
    sqlx::query("select workspace.make_usage_partition($1)").bind(day.date()).execute(admin).await?;
    Ok(())
}

/// Day after day: makes the partitions of one that is not there yet and drops what is older than another, as the service does.
async fn keep_house(mut admin: PgConnection, first: UsageDate, time: Duration) -> anyhow::Result<Housework> {
    let mut housework = Housework::default();
    let begun = Instant::now();
    let mut day = first;
    while begun.elapsed() < time {
        let asked = Instant::now();
        make(&mut admin, day.plus_days(FULL_DAYS)).await?;
        housework.made.calls.push(asked.elapsed());
        day = day.next();
        let old: Vec<String> = sqlx::query_scalar("select workspace.old_usage_partitions($1, $1)")
            .bind(day.date())
            .fetch_all(&mut admin)
            .await?;
        for name in old {
            drop_partition(&mut admin, &name, &mut housework).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(housework)
}

/// One that cannot be had at once is left for the next day.
async fn drop_partition(
    admin: &mut PgConnection,
    name: &str,
    housework: &mut Housework,
) -> anyhow::Result<()> {
    let asked = Instant::now();
    let detached: bool = sqlx::query_scalar("select workspace.detach_usage_partition($1)")
        .bind(name)
        .fetch_one(&mut *admin)
        .await?;
    if !detached {
        housework.given_up += 1;
        return Ok(());
    }
    housework.detached.calls.push(asked.elapsed());
    sqlx::query("select workspace.drop_detached_partition($1)").bind(name).execute(admin).await?;
    housework.dropped += 1;
    Ok(())
}
