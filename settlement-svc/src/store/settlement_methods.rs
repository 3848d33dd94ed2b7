//! `settlement.settlement_methods`: inserted once, never changed.

use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::settlement_method::{Cause, SettlementMethod};

struct Row {
    workspace_id: Uuid,
    effective_from: OffsetDateTime,
    billing_account_id: Uuid,
    subscription_id: Option<Uuid>,
    cause: String,
}

impl TryFrom<Row> for SettlementMethod {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let cause = Cause::from_word(&row.cause);
        Ok(Self {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            effective_from: row.effective_from,
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            subscription: row.subscription_id.map(SubscriptionId::from_uuid),
            cause: cause.ok_or_else(|| Corrupt::new("settlement_methods", row.workspace_id, "cause"))?,
        })
    }
}

/// The class of a workspace's methods among advisory locks.
const METHODS: i64 = 0x0e7d_0000;

/// Waits for whoever changes the methods of a workspace, and keeps others out until the transaction ends: there may be no row to lock.
pub async fn hold(connection: &mut PgConnection, id: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, $2))", id.to_string(), METHODS)
        .execute(connection)
        .await
        .map(drop)
}

pub async fn insert(
    connection: &mut PgConnection,
    method: &SettlementMethod,
    changed_by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement.settlement_methods (workspace_id, effective_from, billing_account_id, subscription_id, cause, \
         changed_by) values ($1, $2, $3, $4, $5, $6)",
        method.workspace_id.uuid(),
        method.effective_from,
        method.billing_account_id.uuid(),
        method.subscription.map(SubscriptionId::uuid),
        method.cause.word(),
        changed_by,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The method in force just before a moment; None: the billing account, ever since.
pub async fn in_force(
    connection: &mut PgConnection,
    id: WorkspaceId,
    before: OffsetDateTime,
) -> sqlx::Result<Option<SettlementMethod>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, effective_from, billing_account_id, subscription_id, cause from settlement.settlement_methods \
         where workspace_id = $1 and effective_from < $2 order by effective_from desc limit 1",
        id.uuid(),
        before,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(SettlementMethod::try_from).transpose()?)
}

/// The method that was written last.
pub async fn newest(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> sqlx::Result<Option<SettlementMethod>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, effective_from, billing_account_id, subscription_id, cause from settlement.settlement_methods \
         where workspace_id = $1 order by effective_from desc limit 1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(SettlementMethod::try_from).transpose()?)
}

/// Methods of a workspace, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    id: WorkspaceId,
    after: Option<OffsetDateTime>,
    limit: i64,
) -> sqlx::Result<Vec<SettlementMethod>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, effective_from, billing_account_id, subscription_id, cause from settlement.settlement_methods \
         where workspace_id = $1 and ($2::timestamptz is null or effective_from > $2) order by effective_from limit $3",
        id.uuid(),
        after,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(SettlementMethod::try_from(row)?)).collect()
}

/// The subscription through whose marketplace a workspace came.
pub async fn activation(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> sqlx::Result<Option<SubscriptionId>> {
    let found = sqlx::query_scalar!(
        "select subscription_id from settlement.settlement_methods where workspace_id = $1 and cause = 'ACTIVATION'",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.flatten().map(SubscriptionId::from_uuid))
}

/// When a holder last changed the method, in a way that counts (DEC-21).
pub async fn last_counted(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select max(effective_from) from settlement.settlement_methods where workspace_id = $1 and cause = 'HOLDER'",
        id.uuid(),
    )
    .fetch_one(connection)
    .await
}

/// The workspaces that a subscription settles now, in order of id.
pub async fn settled_by(connection: &mut PgConnection, id: SubscriptionId) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from settlement.settlement_methods m where subscription_id = $1 \
         and not exists (select 1 from settlement.settlement_methods later where later.workspace_id = m.workspace_id \
           and later.effective_from > m.effective_from) order by workspace_id",
        id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// The workspaces that a payer's cloud accounts settle now, in order of id; one that has ended settles nothing.
pub async fn by_cloud_account(
    connection: &mut PgConnection,
    payer: BillingAccountId,
) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select m.workspace_id from settlement.settlement_methods m join settlement.subscriptions s using (subscription_id) \
         where s.billing_account_id = $1 and s.state <> 'ENDED' and not exists (select 1 from settlement.settlement_methods later \
           where later.workspace_id = m.workspace_id and later.effective_from > m.effective_from) order by m.workspace_id",
        payer.uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}
