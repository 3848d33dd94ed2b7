//! How long to wait before the next try.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Waits that double up to a longest one. Each is shortened by up to its half at random, so that producers that lost the same service
/// do not come back at the same moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// From the shortest to the longest wait.
    pub const fn new(range: std::ops::RangeInclusive<Duration>) -> Self {
        Self { min: *range.start(), max: *range.end(), failures: 0 }
    }

    /// Something went well: the next failure is the first.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let whole = self.min.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        // Every RandomState has keys of its own: the hash of anything is a random number.
        let random = RandomState::new().hash_one(self.failures);
        half + Duration::from_micros(random % spread.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut backoff = Backoff::new(min..=max);
        for whole in [100, 200, 400, 800, 1_600] {
            let wait = backoff.next_wait();
            assert!(wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole));
        }
        for _ in 0..100 {
            assert!(backoff.next_wait() <= max);
        }
        backoff.reset();
        assert!(backoff.next_wait() <= min);
    }
}
