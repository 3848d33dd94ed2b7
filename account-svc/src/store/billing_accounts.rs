//! `account.billing_accounts`

use chassis::failure::Corrupt;
use chassis::id::BillingAccountId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account_state::AccountState;
use crate::domain::billing_account::{BillingAccount, BillingProfile, Enterprise};
use crate::domain::email::Email;
use crate::domain::phone::Phone;
use crate::domain::username::Username;

struct Row {
    billing_account_id: Uuid,
    username: String,
    currency: String,
    email: Option<String>,
    phone: Option<String>,
    company_name: String,
    industry: String,
    region: String,
    company_description: String,
    contact_name: String,
    enterprise_name: Option<String>,
    taxpayer_number: Option<String>,
    verified_at: Option<OffsetDateTime>,
    state: String,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for BillingAccount {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("billing_accounts", row.billing_account_id, problem);
        let enterprise = match (row.enterprise_name, row.taxpayer_number, row.verified_at) {
            (Some(company_name), Some(number), Some(verified_at)) => Some(Enterprise {
                company_name,
                taxpayer_number: number.parse().map_err(|_| corrupt("taxpayer_number"))?,
                verified_at,
            }),
            _ => None,
        };
        Ok(Self {
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            username: row.username.parse().map_err(|_| corrupt("username"))?,
            currency: row.currency.parse().map_err(|_| corrupt("currency"))?,
            email: row.email.map(|email| email.parse()).transpose().map_err(|_| corrupt("email"))?,
            phone: row.phone.map(|phone| phone.parse()).transpose().map_err(|_| corrupt("phone"))?,
            profile: BillingProfile {
                company_name: row.company_name,
                industry: row.industry,
                region: row.region,
                company_description: row.company_description,
                contact_name: row.contact_name,
            },
            enterprise,
            state: AccountState::from_word(&row.state).ok_or_else(|| corrupt("state"))?,
            created_at: row.created_at,
        })
    }
}

/// False when another account has the user name, in whatever case.
pub async fn insert(connection: &mut PgConnection, account: &BillingAccount) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account.billing_accounts (billing_account_id, username, username_key, currency, email, created_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict on constraint billing_accounts_username_key do nothing",
        account.billing_account_id.uuid(),
        account.username.to_string(),
        account.username.key(),
        account.currency.code(),
        account.email.as_ref().map(Email::to_string),
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
        "select billing_account_id, username, currency, email, phone, company_name, industry, region, \
         company_description, contact_name, enterprise_name, taxpayer_number, verified_at, state, \
         created_at \
         from account.billing_accounts where billing_account_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(BillingAccount::try_from).transpose()?)
}

/// The account, locked until the transaction ends.
pub async fn get_for_update(
    connection: &mut PgConnection,
    id: BillingAccountId,
) -> sqlx::Result<Option<BillingAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select billing_account_id, username, currency, email, phone, company_name, industry, region, \
         company_description, contact_name, enterprise_name, taxpayer_number, verified_at, state, \
         created_at \
         from account.billing_accounts where billing_account_id = $1 for no key update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(BillingAccount::try_from).transpose()?)
}

pub async fn find_by_username(
    connection: &mut PgConnection,
    username: &Username,
) -> sqlx::Result<Option<BillingAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select billing_account_id, username, currency, email, phone, company_name, industry, region, \
         company_description, contact_name, enterprise_name, taxpayer_number, verified_at, state, \
         created_at \
         from account.billing_accounts where username_key = $1",
        username.key(),
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
        "select billing_account_id, username, currency, email, phone, company_name, industry, region, \
         company_description, contact_name, enterprise_name, taxpayer_number, verified_at, state, \
         created_at \
         from account.billing_accounts \
         where $1::uuid is null or billing_account_id > $1 order by billing_account_id limit $2",
        after.map(BillingAccountId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(BillingAccount::try_from(row)?)).collect()
}

pub async fn update_profile(
    connection: &mut PgConnection,
    id: BillingAccountId,
    profile: &BillingProfile,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.billing_accounts set company_name = $2, industry = $3, region = $4, company_description = $5, \
         contact_name = $6 where billing_account_id = $1",
        id.uuid(),
        profile.company_name,
        profile.industry,
        profile.region,
        profile.company_description,
        profile.contact_name,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_email(
    connection: &mut PgConnection,
    id: BillingAccountId,
    email: &Email,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.billing_accounts set email = $2 where billing_account_id = $1",
        id.uuid(),
        email.to_string(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_phone(
    connection: &mut PgConnection,
    id: BillingAccountId,
    phone: &Phone,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.billing_accounts set phone = $2 where billing_account_id = $1",
        id.uuid(),
        phone.to_string(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_enterprise(
    connection: &mut PgConnection,
    id: BillingAccountId,
    enterprise: &Enterprise,
    evidence: &str,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.billing_accounts set enterprise_name = $2, taxpayer_number = $3, verified_at = $4, \
         verify_evidence = $5 where billing_account_id = $1",
        id.uuid(),
        enterprise.company_name,
        enterprise.taxpayer_number.as_str(),
        enterprise.verified_at,
        evidence,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Its closing begins.
pub async fn mark_closing(
    connection: &mut PgConnection,
    id: BillingAccountId,
    ticket: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.billing_accounts set state = 'CLOSING', close_ticket = $2 \
         where billing_account_id = $1 and state = 'OPEN'",
        id.uuid(),
        ticket,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Its closing was refused.
pub async fn mark_open(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.billing_accounts set state = 'OPEN', close_ticket = null \
         where billing_account_id = $1 and state = 'CLOSING'",
        id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// It is closed: what is personal is forgotten. Its user name stays taken, and what it was verified as stays with its bills.
pub async fn mark_closed(
    connection: &mut PgConnection,
    id: BillingAccountId,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.billing_accounts set state = 'CLOSED', closed_at = $2, email = null, phone = null, contact_name = '', \
         password_hash = null where billing_account_id = $1 and state = 'CLOSING'",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Those whose closing began.
pub async fn list_closing(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<BillingAccountId>> {
    let ids = sqlx::query_scalar!(
        "select billing_account_id from account.billing_accounts where state = 'CLOSING' order by billing_account_id limit $1",
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(BillingAccountId::from_uuid).collect())
}
