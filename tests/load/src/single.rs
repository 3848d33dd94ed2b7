//! One record per call: what a producer without batches gets.

use std::time::Duration;

use crate::figures::ratio;
use crate::ingest::closed_loop;
use crate::raw;
use crate::stage::Stage;

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, in_flight: usize) -> anyhow::Result<()> {
    raw::make(stage).await?;
    let limit = raw::inserted(stage, time).await?;
    println!("raw limit: {limit} transactions/s, one row each, 64 sessions");
    closed_loop(stage, Duration::from_secs(2), 1, in_flight).await?;
    let single = closed_loop(stage, time, 1, in_flight).await?;
    single.show(&format!("single records, {in_flight} calls under way"));
    println!("  ratio to the raw limit {}", ratio(single.rate(), limit));
    Ok(())
}
