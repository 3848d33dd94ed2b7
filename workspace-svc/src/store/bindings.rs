//! `workspace.bindings`

use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, WorkspaceId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::binding::Binding;

struct Row {
    workspace_id: Uuid,
    billing_account_id: Uuid,
    currency: String,
    effective_from: OffsetDateTime,
    effective_until: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Binding {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        Ok(Self {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            currency: row
                .currency
                .parse()
                .map_err(|error| Corrupt::new("bindings", row.workspace_id, error))?,
            effective_from: row.effective_from,
            effective_until: row.effective_until,
        })
    }
}

pub async fn insert(
    connection: &mut PgConnection,
    binding: &Binding,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.bindings (workspace_id, billing_account_id, currency, effective_from, effective_until, created_at) \
         values ($1, $2, $3, $4, $5, $6)",
        binding.workspace_id.uuid(),
        binding.billing_account_id.uuid(),
        binding.currency.code(),
        binding.effective_from,
        binding.effective_until,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The binding without an end: the one that holds, or the first that will.
pub async fn get_open(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
) -> sqlx::Result<Option<Binding>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, billing_account_id, currency, effective_from, effective_until \
         from workspace.bindings where workspace_id = $1 and effective_until is null",
        workspace_id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Binding::try_from).transpose()?)
}

/// A workspace's bindings, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    after: Option<OffsetDateTime>,
    limit: i64,
) -> sqlx::Result<Vec<Binding>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, billing_account_id, currency, effective_from, effective_until from workspace.bindings \
         where workspace_id = $1 and ($2::timestamptz is null or effective_from > $2) order by effective_from limit $3",
        workspace_id.uuid(),
        after,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Binding::try_from(row)?)).collect()
}

/// The bindings of several workspaces that began before a moment.
pub async fn list_before(
    connection: &mut PgConnection,
    workspace_ids: &[Uuid],
    before: OffsetDateTime,
) -> sqlx::Result<Vec<Binding>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, billing_account_id, currency, effective_from, effective_until from workspace.bindings \
         where workspace_id = any($1) and effective_from < $2",
        workspace_ids,
        before,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Binding::try_from(row)?)).collect()
}
