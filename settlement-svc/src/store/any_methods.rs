//! `settlement.any_methods`

use chassis::id::BillingAccountId;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Whether the switch is on; off until it is set.
pub async fn is_allowed(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<bool> {
    let allowed = sqlx::query_scalar!(
        "select allowed from settlement.any_methods where billing_account_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(allowed == Some(true))
}

pub async fn upsert(
    connection: &mut PgConnection,
    id: BillingAccountId,
    allowed: bool,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement.any_methods (billing_account_id, allowed, reason, changed_at) values ($1, $2, $3, $4) \
         on conflict on constraint any_methods_pkey do update set allowed = excluded.allowed, reason = excluded.reason, \
         changed_at = excluded.changed_at",
        id.uuid(),
        allowed,
        reason,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}
