//! Batches of new records: as fast as they are acked, and then at 70 % of that, however long the acks take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tallystick_proto::workspace::v1::UsageServiceIngestBatchRequest;
use tokio::sync::Semaphore;

use crate::figures::{Figures, busy, ratio};
use crate::raw;
use crate::stage::{RECORDS, Stage};

/// Records per batch of the open loop.
const OPEN_BATCH: usize = 500;
/// Records per batch of what is stored first.
const PRELOAD_BATCH: usize = 2_000;
/// Batches of the open loop that may be under way; more, and the services do not keep up.
const OPEN_MAX: usize = 4_096;

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, batch: usize, in_flight: usize) -> anyhow::Result<()> {
    raw::make(stage).await?;
    let limit = raw::copied(stage, time).await?;
    println!("raw limit: {limit} rows/s, COPY into the same columns and key");
    stage.settle().await?;
    closed_loop(stage, Duration::from_secs(2), batch, in_flight).await?;
    let before = stage.sizes(RECORDS).await?;
    let closed = closed_loop(stage, time, batch, in_flight).await?;
    let written = stage.sizes(RECORDS).await?.since(before);
    closed.show(&format!("closed loop, {in_flight} batches of {batch} under way"));
    println!("  ratio to the raw limit {}", ratio(closed.rate(), limit));
    let per_record = |bytes: i64| bytes / i64::try_from(closed.records.max(1)).unwrap_or(i64::MAX);
    println!(
        "  per record {} bytes of table and index, {} bytes of WAL",
        per_record(written.all_bytes),
        per_record(written.wal)
    );
    stage.settle().await?;
    let open = open_loop(stage, time, closed.rate() * 7 / 10).await?;
    open.show(&format!("open loop at 70 %, batches of {OPEN_BATCH}"));
    Ok(())
}

/// Stores so many records first, through the service like all others.
pub async fn preload(stage: &Stage, count: u64, in_flight: usize) -> anyhow::Result<()> {
    let mut stored = 0;
    while stored < count {
        let part = closed_loop(stage, Duration::from_secs(20), PRELOAD_BATCH, in_flight).await?;
        stored += part.records;
        println!("stored {stored} of {count} records, {} records/s", part.rate());
    }
    Ok(())
}

/// So many tasks, each sending its next batch when the last was acked.
pub async fn closed_loop(
    stage: &Stage,
    time: Duration,
    batch: usize,
    in_flight: usize,
) -> anyhow::Result<Figures> {
    let busy_before = busy();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (mut usage, mut source) = (stage.producer()?.usage, stage.source());
        tasks.spawn(async move {
            let mut figures = Figures::default();
            let begun = Instant::now();
            while begun.elapsed() < time {
                let request = UsageServiceIngestBatchRequest { records: source.batch(batch) };
                let sent = Instant::now();
                let answer = usage.ingest_batch(request).await?.into_inner();
                figures.calls.push(sent.elapsed());
                ensure!(answer.refusals.is_empty(), "refused: {:?}", answer.refusals.first());
                figures.records += u64::try_from(answer.accepted_count)?;
            }
            figures.elapsed = begun.elapsed();
            anyhow::Ok(figures)
        });
    }
    let mut sum = Figures::default();
    while let Some(done) = tasks.join_next().await {
        sum.join(done??);
    }
    sum.busy = busy() - busy_before;
    Ok(sum)
}

/// Batches at their times, whatever became of those before; a call's time is counted from when it was due.
pub async fn open_loop(stage: &Stage, time: Duration, rate: u64) -> anyhow::Result<Figures> {
    let batches_per_second = (rate / u64::try_from(OPEN_BATCH)?).max(1);
    let interval = Duration::from_micros(1_000_000 / batches_per_second);
    let places = Arc::new(Semaphore::new(OPEN_MAX));
    let mut source = stage.source();
    let mut tasks = tokio::task::JoinSet::new();
    let (begun, busy_before) = (Instant::now(), busy());
    let mut due = begun;
    while begun.elapsed() < time {
        tokio::time::sleep_until(due.into()).await;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            anyhow::bail!("{OPEN_MAX} batches are under way: it does not keep up with {rate} records/s");
        };
        let (mut usage, records, from) = (stage.usage()?, source.batch(OPEN_BATCH), due);
        tasks.spawn(async move {
            let answer = usage.ingest_batch(UsageServiceIngestBatchRequest { records }).await?.into_inner();
            drop(place);
            anyhow::Ok((u64::try_from(answer.accepted_count)?, from.elapsed()))
        });
        due += interval;
    }
    let mut figures = Figures::default();
    while let Some(done) = tasks.join_next().await {
        let (records, took) = done??;
        figures.records += records;
        figures.calls.push(took);
    }
    figures.elapsed = begun.elapsed();
    figures.busy = busy() - busy_before;
    Ok(figures)
}
