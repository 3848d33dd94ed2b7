//! What is read often and changes seldom: kept, and read again once a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A change is known everywhere after this time at the latest.
const FRESH: Duration = Duration::from_secs(60);

/// When it was read, and what.
type Read<T> = Option<(Instant, Arc<T>)>;

/// What was read last.
pub struct Kept<T>(Mutex<Read<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    fn hold(&self) -> MutexGuard<'_, Read<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: it must be read.
    pub fn get(&self) -> Option<Arc<T>> {
        let fresh = |(read, _): &&(Instant, Arc<T>)| read.elapsed() < FRESH;
        self.hold().as_ref().filter(fresh).map(|(_, value)| Arc::clone(value))
    }

    /// Keeps what was read.
    pub fn put(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        *self.hold() = Some((Instant::now(), Arc::clone(&value)));
        value
    }

    /// It has changed here.
    pub fn forget(&self) {
        *self.hold() = None;
    }
}
