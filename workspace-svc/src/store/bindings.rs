//! `workspace.bindings`

use chassis::civil::UsageDate;
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

/// All bindings of a workspace: few.
pub async fn list_all(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
) -> sqlx::Result<Vec<Binding>> {
    list(connection, workspace_id, None, i64::MAX).await
}

/// Sets or takes back the end of a binding.
pub async fn update_effective_until(connection: &mut PgConnection, binding: &Binding) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.bindings set effective_until = $3 where workspace_id = $1 and effective_from = $2",
        binding.workspace_id.uuid(),
        binding.effective_from,
        binding.effective_until,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Takes back a binding that has not begun.
pub async fn delete_from(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    from: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from workspace.bindings where workspace_id = $1 and effective_from >= $2",
        workspace_id.uuid(),
        from,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// What a payer is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Something holds, or will.
    pub now: bool,
    /// Something that was dissolved can be restored, and would be bound again.
    pub restorable: bool,
    /// The last moment of any binding that has ended, exclusive.
    pub last_until: Option<OffsetDateTime>,
}

pub async fn bound_to(
    connection: &mut PgConnection,
    payer: BillingAccountId,
    now: OffsetDateTime,
    gone_before: OffsetDateTime,
) -> sqlx::Result<Bound> {
    let row = sqlx::query!(
        r#"select coalesce(bool_or(b.effective_until is null or b.effective_until > $2), false) as "now!",
             coalesce(bool_or(w.dissolved_at > $3 and not exists (select 1 from workspace.bindings later
               where later.workspace_id = b.workspace_id and later.effective_from > b.effective_from)), false) as "restorable!",
             max(b.effective_until) as last_until
           from workspace.bindings b join workspace.workspaces w using (workspace_id) where b.billing_account_id = $1"#,
        payer.uuid(),
        now,
        gone_before,
    )
    .fetch_one(connection)
    .await?;
    Ok(Bound { now: row.now, restorable: row.restorable, last_until: row.last_until })
}

/// The first billing day of a payer's bindings, all of which have ended, that is not sealed, or on which the workspace could not be.
pub async fn first_unsealed_day(
    connection: &mut PgConnection,
    payer: BillingAccountId,
) -> sqlx::Result<Option<UsageDate>> {
    let day = sqlx::query_scalar!(
        "select min(d.day::date) from workspace.bindings b cross join lateral generate_series( \
           (b.effective_from at time zone interval '08:00')::date::timestamp, \
           ((b.effective_until - interval '1 microsecond') at time zone interval '08:00')::date::timestamp, \
           interval '1 day') as d (day) \
         where b.billing_account_id = $1 and (not exists (select 1 from workspace.day_fences f \
           where f.usage_date = d.day::date and f.state = 'SEALED') \
           or exists (select 1 from workspace.seal_failures x where x.workspace_id = b.workspace_id and x.usage_date = d.day::date))",
        payer.uuid(),
    )
    .fetch_one(connection)
    .await?;
    let day = day.map(UsageDate::from_date).transpose();
    Ok(day.map_err(|error| Corrupt::new("bindings", payer, error))?)
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
