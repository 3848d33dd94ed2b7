//! `billing.bill_runs` and `billing.bill_run_failures`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{RunId, WorkspaceId};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::bill_run::{BillRun, RunFailure, State};

struct Row {
    run_id: Uuid,
    usage_date: Date,
    state: String,
    workspace_count: i32,
    billed_count: i32,
    failed_count: i32,
    trace_context: String,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for BillRun {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("bill_runs", row.run_id, problem);
        Ok(Self {
            run_id: RunId::from_uuid(row.run_id),
            usage_date: UsageDate::from_date(row.usage_date).map_err(|_| corrupt("usage_date"))?,
            state: State::from_word(&row.state).ok_or_else(|| corrupt("state"))?,
            workspace_count: row.workspace_count,
            billed_count: row.billed_count,
            failed_count: row.failed_count,
            trace_context: row.trace_context,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    }
}

pub async fn insert(connection: &mut PgConnection, run: &BillRun) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into billing.bill_runs (run_id, usage_date, state, workspace_count, trace_context, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
        run.run_id.uuid(),
        run.usage_date.date(),
        run.state.word(),
        run.workspace_count,
        run.trace_context,
        run.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn get(connection: &mut PgConnection, id: RunId) -> sqlx::Result<Option<BillRun>> {
    let row = sqlx::query_as!(
        Row,
        "select run_id, usage_date, state, workspace_count, billed_count, failed_count, trace_context, created_at, finished_at \
         from billing.bill_runs where run_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(BillRun::try_from).transpose()?)
}

/// Newest first.
pub async fn list(
    connection: &mut PgConnection,
    before: Option<RunId>,
    limit: i64,
) -> sqlx::Result<Vec<BillRun>> {
    let rows = sqlx::query_as!(
        Row,
        "select run_id, usage_date, state, workspace_count, billed_count, failed_count, trace_context, created_at, finished_at \
         from billing.bill_runs where $1::uuid is null or run_id < $1 order by run_id desc limit $2",
        before.map(RunId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(BillRun::try_from(row)?)).collect()
}

/// The runs that have not ended, oldest first.
pub async fn list_unfinished(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<BillRun>> {
    let rows = sqlx::query_as!(
        Row,
        "select run_id, usage_date, state, workspace_count, billed_count, failed_count, trace_context, created_at, finished_at \
         from billing.bill_runs where state in ('PENDING', 'RUNNING') order by created_at, run_id limit $1",
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(BillRun::try_from(row)?)).collect()
}

/// Forgets what an interrupted attempt has listed: the next one lists what fails then.
pub async fn delete_failures(connection: &mut PgConnection, id: RunId) -> sqlx::Result<()> {
    sqlx::query!("delete from billing.bill_run_failures where run_id = $1", id.uuid())
        .execute(connection)
        .await
        .map(drop)
}

/// Begins, or begins anew after an interruption. False when the run has ended.
pub async fn mark_running(connection: &mut PgConnection, id: RunId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update billing.bill_runs set state = 'RUNNING', billed_count = 0, failed_count = 0 \
         where run_id = $1 and state in ('PENDING', 'RUNNING')",
        id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Adds to the counters. False when the run was cancelled.
pub async fn count(connection: &mut PgConnection, id: RunId, billed: i32, failed: i32) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update billing.bill_runs set billed_count = billed_count + $2, failed_count = failed_count + $3 \
         where run_id = $1 and state = 'RUNNING'",
        id.uuid(),
        billed,
        failed,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a run whose bills and failures equal the manifest; the check constraint refuses any other.
pub async fn mark_succeeded(
    connection: &mut PgConnection,
    id: RunId,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update billing.bill_runs set state = 'SUCCEEDED', finished_at = $2 where run_id = $1 and state = 'RUNNING'",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// False when the run has ended.
pub async fn mark_cancelled(
    connection: &mut PgConnection,
    id: RunId,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update billing.bill_runs set state = 'CANCELLED', finished_at = $2 \
         where run_id = $1 and state in ('PENDING', 'RUNNING')",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists failures; one that an interrupted run has listed already stays.
pub async fn insert_failures(
    connection: &mut PgConnection,
    id: RunId,
    failures: &[RunFailure],
) -> sqlx::Result<()> {
    let workspaces: Vec<_> = failures.iter().map(|failure| failure.workspace_id.uuid()).collect();
    let reasons: Vec<_> = failures.iter().map(|failure| failure.reason.to_owned()).collect();
    let messages: Vec<_> = failures.iter().map(|failure| failure.message.clone()).collect();
    sqlx::query!(
        "insert into billing.bill_run_failures (run_id, workspace_id, reason, message) \
         select $1, f.* from unnest($2::uuid[], $3::text[], $4::text[]) as f \
         on conflict on constraint bill_run_failures_pkey do nothing",
        id.uuid(),
        &workspaces,
        &reasons,
        &messages,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A failure as it was listed.
pub struct ListedFailure {
    /// Which workspace.
    pub workspace_id: WorkspaceId,
    /// The reason's word.
    pub reason: String,
    /// In words.
    pub message: String,
}

pub async fn list_failures(
    connection: &mut PgConnection,
    id: RunId,
    after: Option<WorkspaceId>,
    limit: i64,
) -> sqlx::Result<Vec<ListedFailure>> {
    let rows = sqlx::query!(
        "select workspace_id, reason, message from billing.bill_run_failures \
         where run_id = $1 and ($2::uuid is null or workspace_id > $2) order by workspace_id limit $3",
        id.uuid(),
        after.map(WorkspaceId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let listed = rows.into_iter().map(|row| ListedFailure {
        workspace_id: WorkspaceId::from_uuid(row.workspace_id),
        reason: row.reason,
        message: row.message,
    });
    Ok(listed.collect())
}
