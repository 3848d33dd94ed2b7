//! Registrations that stopped on their way: which are due, and what became of a try.

use chassis::id::RegistrationId;

use super::App;
use crate::store;

/// A registration could not go on: it waits for a while that doubles each time, or, refused for good, for its customer or an operator.
pub async fn note(app: &App, id: RegistrationId, parked: bool, error: &str) -> sqlx::Result<()> {
    /// The longest wait between two tries.
    const WAIT_MAX_SECS: i32 = 300;
    let mut connection = app.pool.acquire().await?;
    let attempts = store::registrations::attempts(&mut connection, id).await?;
    let wait = 2_i32.saturating_pow(attempts.clamp(0, 10).unsigned_abs()).min(WAIT_MAX_SECS);
    store::registrations::mark_failed(&mut connection, id, parked, error, wait).await
}

/// Registrations with missing steps that have been left alone for a while.
pub async fn due(app: &App, limit: i64) -> sqlx::Result<Vec<RegistrationId>> {
    /// A registration that is younger is probably being worked on by its own call.
    const LEFT_ALONE: time::Duration = time::Duration::seconds(5);
    let before = app.clock.now() - LEFT_ALONE;
    store::registrations::list_running(&mut *app.pool.acquire().await?, before, limit).await
}
