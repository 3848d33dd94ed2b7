//! What a producer may be told, and within which limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::refusal::RefusalHandler;

/// Every size, count and wait has a limit. Those of a batch and of the window are the contract's.
pub mod limits {
    use std::time::Duration;

    /// Records in one batch.
    pub const BATCH_RECORDS_MAX: usize = 5_000;
    /// Bytes of one batch.
    pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
    /// A batch is never held to fewer bytes: the largest record fits many times.
    pub const BATCH_BYTES_MIN: usize = 4 * 1024;
    /// How long the first record of a batch may wait for others.
    pub const BATCH_AGE_MAX: Duration = Duration::from_secs(60);
    /// Batches under way that are not acked: the service reads no further ahead.
    pub const WINDOW_MAX: usize = 8;
    /// Bytes of one segment of the journal, at least.
    pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
    /// And at most.
    pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
    /// The journal holds at least so many segments: the one that is written stays until the next begins.
    pub const SEGMENTS_MIN: u64 = 4;
    /// How long an ack may take before the stream counts as broken, at least.
    pub const ACK_WAIT_MIN: Duration = Duration::from_secs(1);
    /// And at most.
    pub const ACK_WAIT_MAX: Duration = Duration::from_secs(600);
    /// The wait between two tries, at least.
    pub const BACKOFF_MIN: Duration = Duration::from_millis(1);
    /// And at most.
    pub const BACKOFF_MAX: Duration = Duration::from_secs(600);
    /// Calls of `record` that wait for the same flush of the disk; more wait for the next.
    pub const GROUP_RECORDS_MAX: usize = 4_096;
    /// A meter or dimension.
    pub const WORD_LENGTH_MAX: usize = 64;
    /// A quantity.
    pub const QUANTITY_MAX: u64 = 999_999_999_999_999_999;
}

/// How a producer works. `new` fills in what suits most; every field may be changed.
#[derive(Clone)]
pub struct ProducerConfig {
    /// Where the journal is. One process at a time opens a folder.
    pub folder: PathBuf,
    /// Where workspace-svc is, such as `http://127.0.0.1:50052`; `https://` with the feature `tls`.
    pub address: String,
    /// Records in a batch: 1 to 5,000, by default 1,000.
    pub batch_records_max: usize,
    /// Bytes of a batch: 4 KiB to 1 MiB, by default 512 KiB.
    pub batch_bytes_max: usize,
    /// How long a record may wait for others to fill its batch: at most 60 s, by default 200 ms.
    pub batch_age_max: Duration,
    /// Batches under way that are not acked: 1 to 8, by default 8.
    pub window: usize,
    /// Bytes of the journal, refused records included: at least 4 segments, by default 1 GiB. A full journal takes no records.
    pub journal_bytes_max: u64,
    /// Bytes of a segment of the journal, which is removed as a whole: 64 KiB to 64 MiB, by default 8 MiB.
    pub segment_bytes_max: u64,
    /// How long an ack may take before the stream counts as broken: 1 s to 10 min, by default 60 s.
    pub ack_wait_max: Duration,
    /// The wait after the first failure, which doubles with each further one: at least 1 ms, by default 100 ms.
    pub backoff_min: Duration,
    /// The longest wait between two tries: at most 10 min, by default 30 s.
    pub backoff_max: Duration,
    /// Who is told of refused records, if anybody.
    pub on_refused: Option<Arc<dyn RefusalHandler>>,
}

/// A configuration outside of its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidConfig {
    /// Which field.
    pub field: &'static str,
    /// What it must be.
    pub problem: String,
}

impl ProducerConfig {
    /// The usual configuration.
    pub fn new(folder: PathBuf, address: &str) -> Self {
        Self {
            folder,
            address: address.to_owned(),
            batch_records_max: 1_000,
            batch_bytes_max: 512 * 1024,
            batch_age_max: Duration::from_millis(200),
            window: limits::WINDOW_MAX,
            journal_bytes_max: 1024 * 1024 * 1024,
            segment_bytes_max: 8 * 1024 * 1024,
            ack_wait_max: Duration::from_secs(60),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            on_refused: None,
        }
    }

    /// Names the first field that is outside of its limits.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        within("batch_records_max", self.batch_records_max, 1, limits::BATCH_RECORDS_MAX)?;
        within("batch_bytes_max", self.batch_bytes_max, limits::BATCH_BYTES_MIN, limits::BATCH_BYTES_MAX)?;
        within("batch_age_max", self.batch_age_max, Duration::ZERO, limits::BATCH_AGE_MAX)?;
        within("window", self.window, 1, limits::WINDOW_MAX)?;
        let (least, most) = (limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_MAX);
        within("segment_bytes_max", self.segment_bytes_max, least, most)?;
        let least = self.segment_bytes_max.saturating_mul(limits::SEGMENTS_MIN);
        within("journal_bytes_max", self.journal_bytes_max, least, u64::MAX)?;
        within("ack_wait_max", self.ack_wait_max, limits::ACK_WAIT_MIN, limits::ACK_WAIT_MAX)?;
        within("backoff_min", self.backoff_min, limits::BACKOFF_MIN, self.backoff_max)?;
        within("backoff_max", self.backoff_max, limits::BACKOFF_MIN, limits::BACKOFF_MAX)
    }
}

fn within<T: PartialOrd + std::fmt::Debug>(
    field: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), InvalidConfig> {
    if value < least || value > most {
        let problem = format!("must be from {least:?} to {most:?}, and is {value:?}");
        return Err(InvalidConfig { field, problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_configuration_is_within_its_limits_and_each_field_is_held_to_them() {
        let usual = ProducerConfig::new("journal".into(), "http://127.0.0.1:1");
        assert_eq!(usual.check(), Ok(()));
        type Change = fn(&mut ProducerConfig);
        let changes: [(&str, Change); 8] = [
            ("batch_records_max", |c| c.batch_records_max = 5_001),
            ("batch_bytes_max", |c| c.batch_bytes_max = 1024 * 1024 + 1),
            ("batch_age_max", |c| c.batch_age_max = Duration::from_secs(61)),
            ("window", |c| c.window = 9),
            ("segment_bytes_max", |c| c.segment_bytes_max = 1),
            ("journal_bytes_max", |c| c.journal_bytes_max = c.segment_bytes_max),
            ("ack_wait_max", |c| c.ack_wait_max = Duration::ZERO),
            ("backoff_min", |c| c.backoff_min = Duration::from_secs(31)),
        ];
        for (field, change) in changes {
            let mut config = usual.clone();
            change(&mut config);
            assert_eq!(config.check().map_err(|wrong| wrong.field), Err(field));
        }
    }
}
