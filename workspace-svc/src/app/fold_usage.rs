//! Folds what ingest adds up into the hours. Apart from ingest, because thousands of its transactions add to the same hours.

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;

use super::App;
use crate::store;
use crate::store::usage_deltas::Which;

/// Deltas per transaction.
const DELTAS_MAX: i64 = 50_000;

/// What was there to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// Nothing.
    Nothing,
    /// All that there was.
    All,
    /// As much as is folded at once: there is more.
    Part,
}

/// Folds the next deltas of any day.
pub async fn fold_next(app: &App) -> sqlx::Result<Folded> {
    let mut tx = app.pool.begin().await?;
    store::usage_deltas::hold_fold(&mut tx).await?;
    let folded = store::usage_deltas::fold(&mut tx, Which::Any, DELTAS_MAX).await?;
    tx.commit().await?;
    Ok(match folded {
        0 => Folded::Nothing,
        DELTAS_MAX.. => Folded::Part,
        _ => Folded::All,
    })
}

/// Folds all of a workspace's day, for a caller that holds back everybody else.
pub async fn fold_workspace_day(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
) -> sqlx::Result<()> {
    let which = Which::Of(workspace_id, day);
    while store::usage_deltas::fold(&mut *connection, which, DELTAS_MAX).await? == DELTAS_MAX {}
    Ok(())
}
