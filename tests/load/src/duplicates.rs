//! A storm of retries: every record was counted before.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tallystick_proto::workspace::v1::{UsageRecord, UsageServiceIngestBatchRequest};

use crate::figures::{Figures, ratio};
use crate::raw;
use crate::stage::Stage;

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
        storms.push(kept);
    }
    let (wal, size) = stage.sizes().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for kept in storms {
        tasks.spawn(storm(stage.producer()?.usage, kept, time));
    }
    let mut sum = Figures::default();
    while let Some(done) = tasks.join_next().await {
        sum.join(done??);
    }
    let (wal_after, size_after) = stage.sizes().await?;
    sum.show(&format!("duplicates, {in_flight} batches of {BATCH} under way"));
    println!("  ratio to the raw limit {}", ratio(sum.rate(), limit));
    let records = i64::try_from(sum.records.max(1))?;
    let hundredths = (wal_after - wal).saturating_mul(100) / records;
    println!(
        "  per duplicate {}.{:02} bytes of WAL; the tables have grown by {} bytes",
        hundredths / 100,
        hundredths % 100,
        size_after - size
    );
    Ok(())
}

type Usage =
    tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient<chassis::peer::PeerChannel>;

async fn storm(mut usage: Usage, kept: Vec<Vec<UsageRecord>>, time: Duration) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let begun = Instant::now();
    for records in kept.iter().cycle() {
        if begun.elapsed() >= time {
            break;
        }
        let request = UsageServiceIngestBatchRequest { records: records.clone() };
        let sent = Instant::now();
        let answer = usage.ingest_batch(request).await?.into_inner();
        figures.calls.push(sent.elapsed());
        ensure!(answer.accepted_count == 0, "a duplicate was counted again");
        figures.records += u64::try_from(answer.duplicate_count)?;
    }
    figures.elapsed = begun.elapsed();
    Ok(figures)
}
