//! `workspace.retention_policies`

use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::retention::{DataType, RetentionPolicy};

/// As it is read, here and by `workspace.read_usage`.
pub(super) struct Row {
    pub workspace_id: Uuid,
    pub data_type: String,
    pub dimension: String,
    pub days: i32,
    pub effective_from: OffsetDateTime,
    pub changed_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for RetentionPolicy {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let data_type = DataType::from_word(&row.data_type);
        Ok(Self {
            data_type: data_type
                .ok_or_else(|| Corrupt::new("retention_policies", row.workspace_id, "data_type"))?,
            dimension: row.dimension,
            days: row.days,
            effective_from: row.effective_from,
            changed_at: row.changed_at,
        })
    }
}

/// Of several changes that would hold from the same hour the last counts (WS-13).
pub async fn upsert(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    policy: &RetentionPolicy,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.retention_policies (workspace_id, data_type, dimension, days, effective_from, changed_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict on constraint retention_policies_pkey \
         do update set days = excluded.days, changed_at = excluded.changed_at",
        workspace_id.uuid(),
        policy.data_type.word(),
        policy.dimension,
        policy.days,
        policy.effective_from,
        policy.changed_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// All policies of a workspace, past and to come.
pub async fn list(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
) -> sqlx::Result<Vec<RetentionPolicy>> {
    let of_many = list_of_many(connection, &[workspace_id.uuid()]).await?;
    Ok(of_many.into_iter().map(|(_, policy)| policy).collect())
}

/// All policies of several workspaces.
pub async fn list_of_many(
    connection: &mut PgConnection,
    workspace_ids: &[Uuid],
) -> sqlx::Result<Vec<(WorkspaceId, RetentionPolicy)>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, data_type, dimension, days, effective_from, changed_at \
         from workspace.retention_policies where workspace_id = any($1) order by data_type, dimension, effective_from",
        workspace_ids,
    )
    .fetch_all(connection)
    .await?;
    let pair = |row: Row| {
        let id = WorkspaceId::from_uuid(row.workspace_id);
        Ok((id, RetentionPolicy::try_from(row)?))
    };
    rows.into_iter().map(pair).collect()
}
