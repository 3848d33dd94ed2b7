//! The one clock of a service. In production it is the system's; on a test database it can be moved forward. Tokens never use
//! it: they are checked against real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// Tells the time. Clones share one offset, so that all services of a process agree.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self::default()
    }

    /// Now, cut to microseconds, which is what the database keeps.
    pub fn now(&self) -> OffsetDateTime {
        let offset = Duration::microseconds(self.offset_micros.load(Ordering::SeqCst));
        let now = real_now().checked_add(offset).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let below = now.nanosecond() % 1_000;
        now - Duration::nanoseconds(i64::from(below))
    }

    /// How far the clock is ahead of real time, in microseconds.
    pub fn offset_micros(&self) -> i64 {
        self.offset_micros.load(Ordering::SeqCst)
    }

    /// The offset that would make it this moment now.
    pub fn offset_for(&self, moment: OffsetDateTime) -> Option<i64> {
        i64::try_from((moment - real_now()).whole_microseconds()).ok()
    }

    /// Takes over an offset that the database has, unless the clock is past it: no service of a process goes back.
    pub fn adopt(&self, offset_micros: i64) {
        self.offset_micros.fetch_max(offset_micros, Ordering::SeqCst);
    }

    /// Sets the offset of a clock that nothing has read yet: a test database may begin in the past.
    pub fn start_at(&self, offset_micros: i64) {
        self.offset_micros.store(offset_micros, Ordering::SeqCst);
    }
}

/// The system's time: the only place that reads it.
#[allow(clippy::disallowed_methods)]
fn real_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
