//! `settlement.payment_claims`

use chassis::id::BillingAccountId;
use chassis::money::Money;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// A provider's payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Who received it.
    pub provider: String,
    /// The provider's own number.
    pub reference: String,
}

/// Claims a payment for a book. False when it was credited before, to whomever.
pub async fn insert(
    connection: &mut PgConnection,
    payment: &Payment,
    id: BillingAccountId,
    reason_id: Uuid,
    amount: Money,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into settlement.payment_claims (provider, reference, billing_account_id, transfer_reason_id, amount, currency, \
         claimed_at) values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint payment_claims_pkey do nothing",
        payment.provider,
        payment.reference,
        id.uuid(),
        reason_id,
        amount.amount(),
        amount.currency().code(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
