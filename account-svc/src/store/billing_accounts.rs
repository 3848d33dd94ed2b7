//! `account.billing_accounts`

use chassis::failure::Corrupt;
use chassis::id::BillingAccountId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::billing_account::BillingAccount;

struct Row {
    billing_account_id: Uuid,
    username: String,
    currency: String,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for BillingAccount {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("billing_accounts", row.billing_account_id, problem);
        Ok(Self {
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            username: row.username.parse().map_err(|_| corrupt("username"))?,
            currency: row.currency.parse().map_err(|_| corrupt("currency"))?,
            created_at: row.created_at,
        })
    }
}

/// False when another account has the user name, in whatever case.
pub async fn insert(connection: &mut PgConnection, account: &BillingAccount) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account.billing_accounts (billing_account_id, username, username_key, currency, created_at) \
         values ($1, $2, $3, $4, $5) on conflict on constraint billing_accounts_username_key do nothing",
        account.billing_account_id.uuid(),
        account.username.to_string(),
        account.username.key(),
        account.currency.code(),
        account.created_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(
    connection: &mut PgConnection,
    id: BillingAccountId,
) -> sqlx::Result<Option<BillingAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select billing_account_id, username, currency, created_at from account.billing_accounts where billing_account_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(BillingAccount::try_from).transpose()?)
}

pub async fn list(
    connection: &mut PgConnection,
    after: Option<BillingAccountId>,
    limit: i64,
) -> sqlx::Result<Vec<BillingAccount>> {
    let rows = sqlx::query_as!(
        Row,
        "select billing_account_id, username, currency, created_at from account.billing_accounts \
         where $1::uuid is null or billing_account_id > $1 order by billing_account_id limit $2",
        after.map(BillingAccountId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(BillingAccount::try_from(row)?)).collect()
}
