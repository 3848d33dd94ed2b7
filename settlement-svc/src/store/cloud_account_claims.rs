//! `settlement.cloud_account_claims` and `settlement.landing_claims`

use chassis::failure::Corrupt;
use chassis::id::BillingAccountId;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::cloud_account::Vendor;

/// A cloud account and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudAccount {
    /// Its vendor.
    pub vendor: Vendor,
    /// The vendor's id.
    pub cloud_account_id: String,
    /// Whose.
    pub billing_account_id: BillingAccountId,
    /// Since when.
    pub claimed_at: OffsetDateTime,
}

/// Registers a cloud account in a billing account, unless it is in one; answers in which it is.
pub async fn claim(
    connection: &mut PgConnection,
    (vendor, cloud_account_id): (Vendor, &str),
    billing_account_id: BillingAccountId,
    now: OffsetDateTime,
) -> sqlx::Result<BillingAccountId> {
    sqlx::query!(
        "insert into settlement.cloud_account_claims (vendor, cloud_account_id, billing_account_id, claimed_at) \
         values ($1, $2, $3, $4) on conflict on constraint cloud_account_claims_pkey do nothing",
        vendor.word(),
        cloud_account_id,
        billing_account_id.uuid(),
        now,
    )
    .execute(&mut *connection)
    .await?;
    let holder = sqlx::query_scalar!(
        "select billing_account_id from settlement.cloud_account_claims where vendor = $1 and cloud_account_id = $2",
        vendor.word(),
        cloud_account_id,
    )
    .fetch_one(connection)
    .await?;
    Ok(BillingAccountId::from_uuid(holder))
}

/// Frees the cloud accounts of a billing account that is closed.
pub async fn release(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<()> {
    sqlx::query!("delete from settlement.cloud_account_claims where billing_account_id = $1", id.uuid())
        .execute(connection)
        .await
        .map(drop)
}

/// In which billing account a cloud account is registered.
pub async fn holder(
    connection: &mut PgConnection,
    (vendor, cloud_account_id): (Vendor, &str),
) -> sqlx::Result<Option<BillingAccountId>> {
    let holder = sqlx::query_scalar!(
        "select billing_account_id from settlement.cloud_account_claims where vendor = $1 and cloud_account_id = $2",
        vendor.word(),
        cloud_account_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(holder.map(BillingAccountId::from_uuid))
}

/// The cloud accounts of a billing account, in order of vendor and id.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    after: Option<(&str, &str)>,
    limit: i64,
) -> sqlx::Result<Vec<CloudAccount>> {
    let (vendor, account) = after.unzip();
    let rows = sqlx::query!(
        "select vendor, cloud_account_id, claimed_at from settlement.cloud_account_claims where billing_account_id = $1 \
         and ($2::text is null or (vendor, cloud_account_id) > ($2, $3::text)) order by vendor, cloud_account_id limit $4",
        id.uuid(),
        vendor,
        account,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let account = |row: (String, String, OffsetDateTime)| {
        let vendor = Vendor::from_word(&row.0);
        let vendor = vendor.ok_or_else(|| Corrupt::new("cloud_account_claims", &row.1, "vendor"))?;
        Ok(CloudAccount { vendor, cloud_account_id: row.1, billing_account_id: id, claimed_at: row.2 })
    };
    rows.into_iter().map(|row| account((row.vendor, row.cloud_account_id, row.claimed_at))).collect()
}

/// Uses a landing token up. False: it was used before.
pub async fn use_landing_token(
    connection: &mut PgConnection,
    hash: &[u8; 32],
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into settlement.landing_claims (token_hash, claimed_at) values ($1, $2) \
         on conflict on constraint landing_claims_pkey do nothing",
        hash.as_slice(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
