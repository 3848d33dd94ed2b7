//! Keeps who did what, of all services.

use chassis::audit::Event;
use uuid::Uuid;

use super::App;
use crate::store;
pub use crate::store::audit_trail::Kept;

/// Keeps events of a service, each once.
pub async fn keep(app: &App, service: &str, events: &[Event]) -> sqlx::Result<()> {
    let mut tx = app.pool.begin().await?;
    for event in events {
        store::audit_trail::insert(&mut tx, service, event).await?;
    }
    tx.commit().await
}

/// Events of an object, of a caller, or all, newest first.
pub async fn trail(
    app: &App,
    of: (Option<&str>, Option<&str>),
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    store::audit_trail::list(&mut *app.pool.acquire().await?, of, before, limit).await
}
