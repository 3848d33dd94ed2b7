//! Queries of workspaces with 13 months of history, while ingest runs at half of what it can.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::wire::date;
use tallystick_proto::workspace::v1::usage_service_query_request::Granularity;
use tallystick_proto::workspace::v1::{UsageServiceGetOverviewRequest, UsageServiceQueryRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::ingest;
use crate::stage::Stage;

/// Workspaces with history.
const WORKSPACES: usize = 5;
/// Days of it.
const DAYS: i64 = 396;
/// Queries that may be under way; more, and the service does not keep up.
const QUERIES_MAX: usize = 1_024;
/// Records per batch of what is written meanwhile.
const BATCH: usize = 1_000;

/// Every item on every day, by hour and as sealed: what a workspace has that was busy for 13 months. To some days something came late.
const HISTORY: &str = "do $$ begin \
      perform workspace.make_usage_partition(d::date) from generate_series(current_date - 400, current_date, interval '1 month') as d; \
    end $$; \
    insert into workspace.hourly_usage (workspace_id, usage_date, meter_id, dimension, hour, sum, max, record_count, in_time_sum, \
        in_time_max, in_time_count) \
      select w.workspace_id, d::date, m.meter_id, '', h, 1000, 1000, 10, 1000, 1000, 10 \
      from (select workspace_id from workspace.workspaces order by workspace_id limit 5) as w, \
        generate_series($1::date - 396, $1::date - 1, interval '1 day') as d, generate_series(0, 23) as h, workspace.meters m \
      where m.meter_id <= 12 on conflict do nothing; \
    insert into workspace.sealed_days (workspace_id, usage_date, billing_account_id, currency, site_class, bound_at, canonical, digest, sealed_at) \
      select w.workspace_id, d::date, gen_random_uuid(), 'CNY', 'CHINA', d, 'load', sha256('load'), now() \
      from (select workspace_id from workspace.workspaces order by workspace_id limit 5) as w, \
        generate_series($1::date - 396, $1::date - 1, interval '1 day') as d on conflict do nothing; \
    insert into workspace.sealed_lines (workspace_id, usage_date, month, item, dimension, retention_days, quantity) \
      select s.workspace_id, s.usage_date, date_trunc('month', s.usage_date)::date, m.item, m.meter_id::text, 14, 24000 from workspace.sealed_days s, workspace.meters m \
      where m.meter_id <= 12 and s.canonical = 'load' on conflict do nothing; \
    insert into workspace.sealed_months (workspace_id, month, item, dimension, retention_days, quantity) \
      select l.workspace_id, l.month, l.item, l.dimension, l.retention_days, sum(l.quantity) \
      from workspace.sealed_lines l join workspace.sealed_days s using (workspace_id, usage_date) where s.canonical = 'load' \
      group by 1, 2, 3, 4, 5 on conflict do nothing; \
    update workspace.workspaces w set created_at = w.created_at - interval '400 days', commercial_from = w.commercial_from - interval '400 days' \
      where exists (select 1 from workspace.sealed_days s where s.workspace_id = w.workspace_id and s.canonical = 'load'); \
    update workspace.retention_policies p set effective_from = p.effective_from - interval '400 days' \
      where exists (select 1 from workspace.sealed_days s where s.workspace_id = p.workspace_id and s.canonical = 'load'); \
    insert into workspace.late_usage (workspace_id, usage_date, record_count, point_count, key_count, void_count, first_at, last_at) \
      select workspace_id, usage_date, 1, 0, 0, 0, now(), now() from workspace.sealed_days \
      where canonical = 'load' and $1::date - usage_date in (1, 3, 10, 20, 33, 70) on conflict do nothing";
/// History is old: what became of its pages has long been written down.
const SETTLE: &str = "vacuum (analyze) workspace.hourly_usage, workspace.sealed_days, workspace.sealed_lines, \
    workspace.sealed_months";

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, in_flight: usize, queries: u32) -> anyhow::Result<()> {
    let today = UsageDate::of(stage.now());
    let sql = HISTORY.replace("$1", &format!("'{today}'"));
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut stage.admin().await?).await?;
    sqlx::raw_sql(SETTLE).execute(&mut stage.admin().await?).await?;
    let closed = ingest::closed_loop(stage, Duration::from_secs(4), BATCH, in_flight).await?;
    println!("ingest alone: {} records/s", closed.rate());
    stage.settle().await?;
    let workspaces = stage.some_workspaces(WORKSPACES);
    // Whoever reads is not a producer: its answers do not wait behind batches on the same connection.
    let usage = stage.stranger()?;
    let reads = || tokio::spawn(read(usage.clone(), workspaces.clone(), today, queries.max(1), time));
    show(&format!("{queries} queries/s alone"), &reads().await??);
    let readers = reads();
    let written = ingest::open_loop(stage, time, closed.rate() / 2).await?;
    written.show("written meanwhile, at half of it");
    show(&format!("{queries} queries/s beside it"), &readers.await??);
    Ok(())
}

fn show(name: &str, kinds: &[Figures]) {
    println!("{name}:");
    for (figures, (kind, ..)) in kinds.iter().zip(KINDS) {
        figures.show_calls(&format!("  {kind}"));
    }
    let mut all = Figures::default();
    kinds.iter().cloned().for_each(|figures| all.join(figures));
    all.show_calls("  all of them");
}

/// What is asked for, from so many days ago up to yesterday or today.
const KINDS: [(&str, i64, Granularity); 4] = [
    ("13 months by month", DAYS, Granularity::Month),
    ("a month by day", 31, Granularity::Day),
    ("a week by hour", 7, Granularity::Hour),
    ("overview", 0, Granularity::Day),
];

type Usage =
    tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient<chassis::peer::PeerChannel>;

/// Says when queries are due, for so long. A thread of its own: the runtime's timers are late by a millisecond.
fn dues(queries: u32, time: Duration) -> mpsc::Receiver<Instant> {
    let (tell, dues) = mpsc::channel(QUERIES_MAX);
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut due = begun;
        while due.duration_since(begun) < time {
            while let Some(rest) = due.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
                std::thread::park_timeout(rest);
            }
            // Nobody listens any more once a query failed.
            if tell.blocking_send(due).is_err() {
                return;
            }
            due += Duration::from_secs(1) / queries;
        }
    });
    dues
}

/// Asks at the times when it is due, each kind in its turn; a query's time is counted from when it was due.
async fn read(
    usage: Usage,
    workspaces: Vec<String>,
    today: UsageDate,
    queries: u32,
    time: Duration,
) -> anyhow::Result<Vec<Figures>> {
    let mut under_way = JoinSet::new();
    let mut kinds = vec![Figures::default(); KINDS.len()];
    let mut put = |(kind, took): (usize, Duration)| {
        if let Some(figures) = kinds.get_mut(kind) {
            figures.calls.push(took);
        }
    };
    let mut turns = 0..;
    let mut dues = dues(queries, time);
    while let Some((due, turn)) = dues.recv().await.zip(turns.next()) {
        while let Some(answered) = under_way.try_join_next() {
            put(answered??);
        }
        anyhow::ensure!(under_way.len() < QUERIES_MAX, "{QUERIES_MAX} queries are under way");
        let workspace_id = workspaces.get(turn / KINDS.len() % workspaces.len().max(1)).cloned();
        let kind = turn % KINDS.len();
        let asked = ask(usage.clone(), workspace_id.unwrap_or_default(), today, kind);
        under_way.spawn(async move { anyhow::Ok((kind, asked.await.map(|()| due.elapsed())?)) });
    }
    while let Some(answered) = under_way.join_next().await {
        put(answered??);
    }
    Ok(kinds)
}

async fn ask(mut usage: Usage, workspace_id: String, today: UsageDate, kind: usize) -> anyhow::Result<()> {
    let (_, days, granularity) = KINDS.get(kind).context("there is no such kind of query")?;
    if *days == 0 {
        usage.get_overview(UsageServiceGetOverviewRequest { workspace_id }).await?;
        return Ok(());
    }
    let query = UsageServiceQueryRequest {
        workspace_id,
        usage_date: Some(date(today.plus_days(-days))),
        last_date: Some(date(today)),
        granularity: (*granularity).into(),
        ..Default::default()
    };
    let answer = usage.query(query).await?.into_inner();
    anyhow::ensure!(!answer.periods.is_empty(), "nothing was read");
    Ok(())
}
