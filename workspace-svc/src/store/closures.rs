//! `workspace.closures`

use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::closure::{Cause, Closure};

async fn insert(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    cause: Cause,
    from: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.closures (workspace_id, cause, closed_from, created_at) values ($1, $2, $3, $4)",
        workspace_id.uuid(),
        cause.word(),
        from,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Begins a closure, or takes back the end of one that has not come yet.
pub async fn begin(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    cause: Cause,
    from: OffsetDateTime,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    if reopen(&mut *connection, workspace_id, cause, from).await? == 0 {
        insert(connection, workspace_id, cause, from, now).await?;
    }
    Ok(())
}

/// Takes back the end of a closure that comes after a moment. Answers how many there were: one at most.
pub async fn reopen(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    cause: Cause,
    after: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.closures set closed_until = null where workspace_id = $1 and cause = $2 and closed_until > $3",
        workspace_id.uuid(),
        cause.word(),
        after,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Ends what is open of a cause. What has not begun by then is taken back.
pub async fn end(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    cause: Cause,
    until: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from workspace.closures where workspace_id = $1 and cause = $2 and closed_until is null and closed_from >= $3",
        workspace_id.uuid(),
        cause.word(),
        until,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update workspace.closures set closed_until = $3 where workspace_id = $1 and cause = $2 and closed_until is null",
        workspace_id.uuid(),
        cause.word(),
        until,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// All of several workspaces.
pub async fn list_of_many(
    connection: &mut PgConnection,
    workspace_ids: &[Uuid],
) -> sqlx::Result<Vec<(WorkspaceId, Closure)>> {
    let rows = sqlx::query!(
        "select workspace_id, cause, closed_from, closed_until from workspace.closures where workspace_id = any($1) \
         order by closed_from",
        workspace_ids,
    )
    .fetch_all(connection)
    .await?;
    let closure = |row: (Uuid, String, OffsetDateTime, Option<OffsetDateTime>)| {
        let (id, cause, from, until) = row;
        let cause = Cause::from_word(&cause).ok_or_else(|| Corrupt::new("closures", id, "cause"))?;
        Ok((WorkspaceId::from_uuid(id), Closure { cause, from, until }))
    };
    rows.into_iter()
        .map(|row| closure((row.workspace_id, row.cause, row.closed_from, row.closed_until)))
        .collect()
}
