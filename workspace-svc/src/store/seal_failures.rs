//! `workspace.seal_failures`: written and deleted by whoever holds the seal of the day.

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::seal_failure::{Problem, Reason, SealFailure};

/// Lists a workspace, or what was wrong with it this time.
pub async fn upsert(
    connection: &mut PgConnection,
    day: UsageDate,
    workspace_id: WorkspaceId,
    problem: &Problem,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.seal_failures as f (workspace_id, usage_date, reason, problem, failed_at, tries) \
         values ($1, $2, $3, $4, $5, 1) on conflict on constraint seal_failures_pkey \
         do update set reason = excluded.reason, problem = excluded.problem, failed_at = excluded.failed_at, tries = f.tries + 1",
        workspace_id.uuid(),
        day.date(),
        problem.reason.word(),
        problem.text,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Takes those of these off the list that are sealed by now; answers how many there were.
pub async fn delete_sealed(
    connection: &mut PgConnection,
    day: UsageDate,
    ids: &[WorkspaceId],
) -> sqlx::Result<u64> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let done = sqlx::query!(
        "delete from workspace.seal_failures f where f.usage_date = $1 and f.workspace_id = any($2) and exists (select 1 \
           from workspace.sealed_days s where s.workspace_id = f.workspace_id and s.usage_date = f.usage_date)",
        day.date(),
        &ids,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The failures of a day, in order of workspace id.
pub async fn list(
    connection: &mut PgConnection,
    day: UsageDate,
    after: Option<WorkspaceId>,
    limit: i64,
) -> sqlx::Result<Vec<SealFailure>> {
    let rows = sqlx::query!(
        "select workspace_id, reason, problem, failed_at, tries from workspace.seal_failures \
         where usage_date = $1 and ($2::uuid is null or workspace_id > $2) order by workspace_id limit $3",
        day.date(),
        after.map(WorkspaceId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let mut failures = Vec::with_capacity(rows.len());
    for row in rows {
        let reason = Reason::from_word(&row.reason);
        let reason = reason.ok_or_else(|| Corrupt::new("seal_failures", row.workspace_id, "reason"))?;
        failures.push(SealFailure {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            problem: Problem { reason, text: row.problem },
            failed_at: row.failed_at,
            tries: row.tries,
        });
    }
    Ok(failures)
}

/// The workspaces that failed on a day, in order of id.
pub async fn list_ids(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from workspace.seal_failures where usage_date = $1 order by workspace_id",
        day.date(),
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Sealed days with failures, the oldest first, each with when the one was tried that waits longest.
pub async fn list_days(
    connection: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<(UsageDate, OffsetDateTime)>> {
    let rows = sqlx::query!(
        r#"select s.usage_date, min(s.failed_at) as "failed_at!" from workspace.seal_failures s
           join workspace.day_fences f on f.usage_date = s.usage_date and f.state = 'SEALED'
           group by s.usage_date order by s.usage_date limit $1"#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let day = |date| UsageDate::from_date(date).map_err(|error| Corrupt::new("seal_failures", date, error));
    rows.into_iter().map(|row| Ok((day(row.usage_date)?, row.failed_at))).collect()
}
