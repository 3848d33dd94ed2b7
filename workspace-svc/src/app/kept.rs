//! What is read often and changes seldom: kept, and read again once a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A change is known everywhere after this time at the latest.
const FRESH: Duration = Duration::from_secs(60);

struct State<T> {
    /// Counts the changes that were heard of.
    changes: u64,
    /// When it was read, and what.
    read: Option<(Instant, Arc<T>)>,
}

/// What was read last.
pub struct Kept<T>(Mutex<State<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State { changes: 0, read: None }))
    }
}

impl<T> Kept<T> {
    fn hold(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept and fresh; else how many changes were heard of, and it must be read.
    pub fn get(&self) -> Result<Arc<T>, u64> {
        let state = self.hold();
        let fresh = |(read, _): &&(Instant, Arc<T>)| read.elapsed() < FRESH;
        state.read.as_ref().filter(fresh).map(|(_, value)| Arc::clone(value)).ok_or(state.changes)
    }

    /// Keeps what was read, unless it has changed since.
    pub fn put(&self, changes: u64, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let mut state = self.hold();
        if state.changes == changes {
            state.read = Some((Instant::now(), Arc::clone(&value)));
        }
        value
    }

    /// It has changed here.
    pub fn forget(&self) {
        let mut state = self.hold();
        state.changes += 1;
        state.read = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_while_it_was_read_is_not_kept() {
        let kept = Kept::default();
        let before = kept.get().unwrap_err();
        kept.forget();
        assert_eq!(*kept.put(before, "old"), "old");
        let now = kept.get().unwrap_err();
        kept.put(now, "new");
        assert_eq!(*kept.get().unwrap(), "new");
    }
}
