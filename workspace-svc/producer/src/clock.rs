//! The one place that reads the time.

use time::OffsetDateTime;

/// Now. A producer is a program of its own: it has the system's clock, not that of a service.
#[allow(clippy::disallowed_methods)]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
