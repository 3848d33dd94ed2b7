//! A storm of retries: every record was counted before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tallystick_proto::workspace::v1::{UsageRecord, UsageServiceIngestBatchRequest};

use crate::figures::{Figures, each, ratio};
use crate::raw;
use crate::stage::{RECORDS, Stage};

/// Records per batch, and batches that each task sends again and again.
const BATCH: usize = 1_000;
const KEPT: usize = 20;

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, in_flight: usize) -> anyhow::Result<()> {
    raw::make(stage).await?;
    let limit = raw::copied(stage, time).await?;
    println!("raw limit: {limit} rows/s, COPY of new rows into the same columns and key");
    let mut storms = Vec::new();
    for _ in 0..in_flight {
        let (mut usage, mut source) = (stage.producer()?.usage, stage.source());
        let mut kept = Vec::with_capacity(KEPT);
        for _ in 0..KEPT {
            let records = source.batch(BATCH);
            usage.ingest_batch(UsageServiceIngestBatchRequest { records: records.clone() }).await?;
            kept.push(records);
        }
        storms.push(Arc::new(kept));
    }
    let before = stage.sizes(RECORDS).await?;
    all(stage, &storms, Duration::ZERO).await?;
    let begun = stage.sizes(RECORDS).await?;
    println!(
        "the first batch of each, until the service looks before it writes: {}",
        begun.since(before).pages()
    );
    let sum = all(stage, &storms, time).await?;
    let written = stage.sizes(RECORDS).await?.since(begun);
    sum.show(&format!("duplicates, {in_flight} batches of {BATCH} under way"));
    println!("  ratio to the raw limit {}", ratio(sum.rate(), limit));
    println!("  per duplicate {} bytes of WAL", each(written.wal, sum.records));
    println!("  in all {}", written.pages());
    Ok(())
}

/// All at once, each at least one batch.
async fn all(
    stage: &Stage,
    storms: &[Arc<Vec<Vec<UsageRecord>>>],
    time: Duration,
) -> anyhow::Result<Figures> {
    let mut tasks = tokio::task::JoinSet::new();
    for kept in storms {
        tasks.spawn(storm(stage.producer()?.usage, Arc::clone(kept), time));
    }
    let mut sum = Figures::default();
    while let Some(done) = tasks.join_next().await {
        sum.join(done??);
    }
    Ok(sum)
}

type Usage =
    tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient<chassis::peer::PeerChannel>;

async fn storm(
    mut usage: Usage,
    kept: Arc<Vec<Vec<UsageRecord>>>,
    time: Duration,
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let begun = Instant::now();
    for records in kept.iter().cycle() {
        let request = UsageServiceIngestBatchRequest { records: records.clone() };
        let sent = Instant::now();
        let answer = usage.ingest_batch(request).await?.into_inner();
        figures.calls.push(sent.elapsed());
        ensure!(answer.accepted_count == 0, "a duplicate was counted again");
        figures.records += u64::try_from(answer.duplicate_count)?;
        if begun.elapsed() >= time {
            break;
        }
    }
    figures.elapsed = begun.elapsed();
    Ok(figures)
}
