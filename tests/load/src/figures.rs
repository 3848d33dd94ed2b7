//! What was measured, in whole numbers.

use std::time::Duration;

/// What a part of a run did.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Records that were acked.
    pub records: u64,
    /// How long each call took.
    pub calls: Vec<Duration>,
    /// How long the part took.
    pub elapsed: Duration,
    /// How long cores were busy meanwhile, whoever kept them so; zero where that was not measured.
    pub busy: Duration,
}

impl Figures {
    /// Adds what another task did at the same time.
    pub fn join(&mut self, other: Self) {
        self.records += other.records;
        self.calls.extend(other.calls);
        self.elapsed = self.elapsed.max(other.elapsed);
        self.busy += other.busy;
    }

    /// Records in a second.
    pub fn rate(&self) -> u64 {
        per_second(self.records, self.elapsed)
    }

    /// The time within which so many of a thousand calls were answered.
    fn within(&self, per_mille: usize) -> Duration {
        let mut calls = self.calls.clone();
        calls.sort_unstable();
        let place = (calls.len() * per_mille / 1_000).min(calls.len().saturating_sub(1));
        calls.get(place).copied().unwrap_or_default()
    }

    /// The slowest call, in milliseconds.
    pub fn slowest(&self) -> String {
        millis(self.within(1_000))
    }

    /// What part of another's 99th percentile this one's is.
    pub fn p99_ratio(&self, other: &Self) -> String {
        let micros = |figures: &Self| u64::try_from(figures.within(990).as_micros()).unwrap_or(u64::MAX);
        ratio(micros(self), micros(other))
    }

    /// Says how many calls there were, and how long they took.
    pub fn show_calls(&self, name: &str) {
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| millis(self.within(per_mille)));
        println!("{name}: {} calls, p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms", self.calls.len());
    }

    /// Says it.
    pub fn show(&self, name: &str) {
        println!(
            "{name}: {} records/s acked after a durable commit, {} calls",
            self.rate(),
            self.calls.len()
        );
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| millis(self.within(per_mille)));
        println!("  ack p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms");
        if self.busy > Duration::ZERO {
            let micros = i64::try_from(self.busy.as_micros()).unwrap_or(i64::MAX);
            println!("  {} us of a core per record, of all that runs here", each(micros, self.records));
        }
    }
}

/// How long the cores of this machine have been busy since it started.
pub fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut parts = text.split_whitespace().skip(1).map_while(|part| part.parse::<u64>().ok());
    let ticks: Vec<u64> = parts.by_ref().take(8).collect();
    // In hundredths of a second: user, nice, system, idle, waiting for the disk, interrupts.
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Duration::from_millis(10 * (ticks.iter().sum::<u64>() - idle))
}

/// So many in a second.
pub fn per_second(count: u64, elapsed: Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// So much of each, with two places.
pub fn each(amount: i64, count: u64) -> String {
    let hundredths = i128::from(amount) * 100 / i128::from(count.max(1));
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}

/// With one place.
fn millis(duration: Duration) -> String {
    let tenths = duration.as_micros() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A share of a limit, with two places.
pub fn ratio(part: u64, limit: u64) -> String {
    let hundredths = u128::from(part) * 100 / u128::from(limit.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
