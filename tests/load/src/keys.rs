//! What a distinct key costs: when it is new, when it is known, and when it is known but not in its hour.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chassis::clock::Clock;
use chassis::id::uuid_at;
use tallystick_proto::workspace::v1::{
    UsageKey, UsageServiceReportKeysRequest, UsageServiceReportKeysResponse,
};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::{Figures, each, ratio};
use crate::raw;
use crate::stage::{KEYS, Sizes, Source, Stage};

/// Counts the distinct keys of a day.
const METER: &str = "timeseries_key";
/// How long keys are sent before anything is measured: the first of a workspace and day say how it is fed.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, batch: usize, in_flight: usize) -> anyhow::Result<()> {
    raw::make(stage).await?;
    let limit = raw::copied(stage, time).await?;
    println!("raw limit: {limit} rows/s, COPY of new rows into the columns and key of records");
    stage.settle().await?;
    let reporters =
        || (0..in_flight).map(|_| Reporter::new(stage, batch)).collect::<anyhow::Result<Vec<_>>>();
    report(reporters()?, WARM_UP, Part::New).await?;

    let before = stage.sizes(KEYS).await?;
    let (new, reporters) = report(reporters()?, time, Part::New).await?;
    let written = stage.sizes(KEYS).await?.since(before);
    let under_way = format!("{in_flight} batches of {batch} under way");
    show(&format!("new keys, {under_way}"), &new, limit, written);

    let before = stage.sizes(KEYS).await?;
    let (known, reporters) = report(reporters, time, Part::Known).await?;
    let written = stage.sizes(KEYS).await?.since(before);
    show(&format!("known keys, {under_way}"), &known, limit, written);
    println!("  in all {}", written.pages());

    stage.let_an_hour_pass().await?;
    let before = stage.sizes(KEYS).await?;
    let (later, _) = report(reporters, time, Part::KnownInNewHour).await?;
    let written = stage.sizes(KEYS).await?.since(before);
    show(&format!("known keys, each for the first time in its hour, {under_way}"), &later, limit, written);
    Ok(())
}

fn show(name: &str, figures: &Figures, limit: u64, written: Sizes) {
    println!("{name}: {} keys/s acked after a durable commit", figures.rate());
    figures.show_calls("  acks");
    println!("  ratio to the raw limit {}", ratio(figures.rate(), limit));
    let [table, index, wal] =
        [written.table_bytes, written.index_bytes, written.wal].map(|bytes| each(bytes, figures.records));
    println!("  per key {table} bytes of table, {index} of index, {wal} of WAL");
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Keys that were never seen.
    New,
    /// Those that were, as they were sent, again and again.
    Known,
    /// Those that were, once more an hour later: nothing counts more, but the hour is noted.
    KnownInNewHour,
}

/// All at once, each sending its next batch when the last was acked.
async fn report(
    reporters: Vec<Reporter>,
    time: Duration,
    part: Part,
) -> anyhow::Result<(Figures, Vec<Reporter>)> {
    let mut tasks = JoinSet::new();
    for mut reporter in reporters {
        tasks.spawn(async move {
            let figures = reporter.report(time, part).await?;
            anyhow::Ok((figures, reporter))
        });
    }
    let (mut sum, mut reporters) = (Figures::default(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (figures, reporter) = done??;
        sum.join(figures);
        reporters.push(reporter);
    }
    Ok((sum, reporters))
}

type Usage =
    tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient<chassis::peer::PeerChannel>;

/// Sends keys that no other one sends. It remembers when it sent each batch, and makes it again from that.
struct Reporter {
    usage: Usage,
    source: Source,
    name: Uuid,
    batch: usize,
    sent: Vec<OffsetDateTime>,
}

impl Reporter {
    fn new(stage: &Stage, batch: usize) -> anyhow::Result<Self> {
        let name = uuid_at(Clock::system().now());
        Ok(Self { usage: stage.usage()?, source: stage.source(), name, batch, sent: Vec::new() })
    }

    async fn report(&mut self, time: Duration, part: Part) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let begun = Instant::now();
        let mut turn = 0;
        while begun.elapsed() < time {
            let keys = match part {
                Part::New => {
                    self.sent.push(self.source.moment());
                    self.keys(self.sent.len() - 1, time::Duration::ZERO)
                }
                Part::Known => self.keys(turn % self.sent.len().max(1), time::Duration::ZERO),
                Part::KnownInNewHour => self.keys(turn, time::Duration::HOUR),
            };
            let Some(keys) = keys else { break };
            turn += 1;
            let sent = Instant::now();
            let answer = self.usage.report_keys(UsageServiceReportKeysRequest { keys }).await?.into_inner();
            figures.calls.push(sent.elapsed());
            self.check(&answer, part)?;
            figures.records += u64::try_from(self.batch)?;
        }
        figures.elapsed = begun.elapsed();
        Ok(figures)
    }

    /// A batch that was sent, made again, so much later.
    fn keys(&self, number: usize, later: time::Duration) -> Option<Vec<UsageKey>> {
        let moment = *self.sent.get(number)? + later;
        let first = number * self.batch;
        let keys = (first..first + self.batch).map(|key| format!("cpu,host={},core={key}", self.name));
        Some(self.source.keys(METER, keys, moment))
    }

    fn check(&self, answer: &UsageServiceReportKeysResponse, part: Part) -> anyhow::Result<()> {
        ensure!(answer.refusals.is_empty(), "refused: {:?}", answer.refusals.first());
        let count = i32::try_from(self.batch)?;
        let expected = if part == Part::New { (count, 0) } else { (0, count) };
        let answered = (answer.new_count, answer.known_count);
        ensure!(answered == expected, "{answered:?} keys were new and known, expected {expected:?}");
        ensure!(answer.late_count == 0, "{} keys were late", answer.late_count);
        Ok(())
    }
}
