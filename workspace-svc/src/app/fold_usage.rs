//! Folds what ingest adds up into the hours. Apart from ingest, because thousands of its transactions add to the same hours.

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;

use super::App;
use crate::store;
use crate::store::usage_deltas::Which;

/// Folds the deltas of all days; answers how many there were.
pub async fn fold_all(app: &App) -> sqlx::Result<i64> {
    let mut tx = app.pool.begin().await?;
    store::usage_deltas::hold_fold(&mut tx).await?;
    store::usage_deltas::allow_long(&mut tx).await?;
    let folded = store::usage_deltas::fold(&mut tx, Which::Any).await?;
    tx.commit().await?;
    Ok(folded)
}

/// Folds all of a workspace's day, for a caller that holds back everybody else.
pub async fn fold_workspace_day(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
) -> sqlx::Result<()> {
    store::usage_deltas::fold(connection, Which::Of(workspace_id, day)).await.map(drop)
}
