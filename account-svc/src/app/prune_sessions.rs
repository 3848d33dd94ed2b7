//! Removes what proves nothing any more: wrong tries of more than a day ago, and sessions whose last token has ended.

use super::App;
use crate::domain::session::TRIES_WINDOW;
use crate::store;

/// Rows of each kind at a time.
const BATCH: i64 = 1_000;

/// Removes some. True when there may be more.
pub async fn prune_sessions(app: &App) -> sqlx::Result<bool> {
    let now = app.real_time.now();
    let mut tx = app.pool.begin().await?;
    let sessions = store::sessions::delete_ended(&mut tx, now, BATCH).await?;
    let tries = store::sessions::delete_tries(&mut tx, now - TRIES_WINDOW, BATCH).await?;
    tx.commit().await?;
    let full = BATCH.unsigned_abs();
    Ok(sessions >= full || tries >= full)
}
