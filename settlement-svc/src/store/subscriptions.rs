//! `settlement.subscriptions`

use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, SubscriptionId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::cloud_account::{Purchase, State, Subscription, Vendor};

struct Row {
    subscription_id: Uuid,
    vendor: String,
    cloud_account_id: String,
    instance_id: String,
    currency: String,
    state: String,
    billing_account_id: Option<Uuid>,
    created_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Subscription {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("subscriptions", row.subscription_id, problem);
        Ok(Self {
            subscription_id: SubscriptionId::from_uuid(row.subscription_id),
            purchase: Purchase {
                vendor: Vendor::from_word(&row.vendor).ok_or_else(|| corrupt("vendor"))?,
                cloud_account_id: row.cloud_account_id,
                instance_id: row.instance_id,
            },
            currency: row.currency.parse().map_err(|_| corrupt("currency"))?,
            state: State::from_word(&row.state).ok_or_else(|| corrupt("state"))?,
            billing_account_id: row.billing_account_id.map(BillingAccountId::from_uuid),
            created_at: row.created_at,
            ended_at: row.ended_at,
        })
    }
}

/// Notes a purchase, unless it is noted.
pub async fn insert(connection: &mut PgConnection, subscription: &Subscription) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement.subscriptions (subscription_id, vendor, cloud_account_id, instance_id, currency, state, \
         created_at) values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint subscriptions_instance_key do nothing",
        subscription.subscription_id.uuid(),
        subscription.purchase.vendor.word(),
        subscription.purchase.cloud_account_id,
        subscription.purchase.instance_id,
        subscription.currency.code(),
        subscription.state.word(),
        subscription.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn get(connection: &mut PgConnection, id: SubscriptionId) -> sqlx::Result<Option<Subscription>> {
    let row = sqlx::query_as!(
        Row,
        "select subscription_id, vendor, cloud_account_id, instance_id, currency, state, billing_account_id, created_at, \
         ended_at from settlement.subscriptions where subscription_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Subscription::try_from).transpose()?)
}

/// The subscription, locked until the transaction ends.
pub async fn get_for_update(
    connection: &mut PgConnection,
    id: SubscriptionId,
) -> sqlx::Result<Option<Subscription>> {
    let row = sqlx::query_as!(
        Row,
        "select subscription_id, vendor, cloud_account_id, instance_id, currency, state, billing_account_id, created_at, \
         ended_at from settlement.subscriptions where subscription_id = $1 for no key update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Subscription::try_from).transpose()?)
}

pub async fn find_by_purchase(
    connection: &mut PgConnection,
    purchase: &Purchase,
) -> sqlx::Result<Option<Subscription>> {
    let row = sqlx::query_as!(
        Row,
        "select subscription_id, vendor, cloud_account_id, instance_id, currency, state, billing_account_id, created_at, \
         ended_at from settlement.subscriptions where vendor = $1 and cloud_account_id = $2 and instance_id = $3",
        purchase.vendor.word(),
        purchase.cloud_account_id,
        purchase.instance_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Subscription::try_from).transpose()?)
}

/// A billing account's subscriptions, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    after: Option<SubscriptionId>,
    limit: i64,
) -> sqlx::Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Row,
        "select subscription_id, vendor, cloud_account_id, instance_id, currency, state, billing_account_id, created_at, \
         ended_at from settlement.subscriptions where billing_account_id = $1 \
         and ($2::uuid is null or subscription_id > $2) order by subscription_id limit $3",
        id.uuid(),
        after.map(SubscriptionId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Subscription::try_from(row)?)).collect()
}

/// Its state, end and payer.
pub async fn update(connection: &mut PgConnection, subscription: &Subscription) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update settlement.subscriptions set state = $2, ended_at = $3, billing_account_id = $4 where subscription_id = $1",
        subscription.subscription_id.uuid(),
        subscription.state.word(),
        subscription.ended_at,
        subscription.billing_account_id.map(BillingAccountId::uuid),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Frees what has not ended of a billing account that is closed: another may bind it.
pub async fn release(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<()> {
    sqlx::query!(
        "update settlement.subscriptions set billing_account_id = null where billing_account_id = $1 and state <> 'ENDED'",
        id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}
