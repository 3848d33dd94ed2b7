//! `workspace.workspaces`

use chassis::failure::Corrupt;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::site::Site;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::workspace::Workspace;

struct Row {
    workspace_id: Uuid,
    owner_console_account_id: Uuid,
    name: String,
    site: String,
    commercial_from: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for Workspace {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        Ok(Self {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            owner: ConsoleAccountId::from_uuid(row.owner_console_account_id),
            site: Site::from_word(&row.site)
                .map_err(|error| Corrupt::new("workspaces", row.workspace_id, error))?,
            name: row.name,
            commercial_from: row.commercial_from,
            created_at: row.created_at,
        })
    }
}

pub async fn insert(connection: &mut PgConnection, workspace: &Workspace) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.workspaces (workspace_id, owner_console_account_id, name, site, commercial_from, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
        workspace.workspace_id.uuid(),
        workspace.owner.uuid(),
        workspace.name,
        workspace.site.word(),
        workspace.commercial_from,
        workspace.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn get(connection: &mut PgConnection, id: WorkspaceId) -> sqlx::Result<Option<Workspace>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, commercial_from, created_at \
         from workspace.workspaces where workspace_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Workspace::try_from).transpose()?)
}

pub async fn get_for_update(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> sqlx::Result<Option<Workspace>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, commercial_from, created_at \
         from workspace.workspaces where workspace_id = $1 for update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Workspace::try_from).transpose()?)
}

pub async fn list(
    connection: &mut PgConnection,
    after: Option<WorkspaceId>,
    limit: i64,
) -> sqlx::Result<Vec<Workspace>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, commercial_from, created_at \
         from workspace.workspaces where $1::uuid is null or workspace_id > $1 order by workspace_id limit $2",
        after.map(WorkspaceId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Workspace::try_from(row)?)).collect()
}

/// When each of these was made; one that is not there is not in the answer.
pub async fn created_at(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> sqlx::Result<Vec<(WorkspaceId, OffsetDateTime)>> {
    let rows = sqlx::query!(
        "select workspace_id, created_at from workspace.workspaces where workspace_id = any($1)",
        ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId::from_uuid(row.workspace_id), row.created_at)).collect())
}

/// Those that were commercial before a day's end and have no sealed day yet, in order of id.
pub async fn list_unsealed(
    connection: &mut PgConnection,
    day: time::Date,
    day_end: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<Workspace>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, commercial_from, created_at \
         from workspace.workspaces w where commercial_from < $2 and not exists (select 1 from workspace.sealed_days s \
           where s.workspace_id = w.workspace_id and s.usage_date = $1) order by workspace_id limit $3",
        day,
        day_end,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Workspace::try_from(row)?)).collect()
}

pub async fn update_commercial_from(
    connection: &mut PgConnection,
    id: WorkspaceId,
    from: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.workspaces set commercial_from = $2 where workspace_id = $1 and commercial_from is null",
        id.uuid(),
        from,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
