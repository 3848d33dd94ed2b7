//! `account.console_accounts`

use chassis::failure::Corrupt;
use chassis::id::ConsoleAccountId;
use chassis::site::Site;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account_state::AccountState;
use crate::domain::console_account::ConsoleAccount;
use crate::domain::email::Email;
use crate::domain::phone::Phone;

struct Row {
    console_account_id: Uuid,
    site: String,
    email: String,
    display_name: String,
    phone: Option<String>,
    state: String,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for ConsoleAccount {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("console_accounts", row.console_account_id, problem);
        Ok(Self {
            console_account_id: ConsoleAccountId::from_uuid(row.console_account_id),
            site: Site::from_word(&row.site).map_err(|_| corrupt("site"))?,
            email: row.email.parse().map_err(|_| corrupt("email"))?,
            phone: row.phone.map(|phone| phone.parse()).transpose().map_err(|_| corrupt("phone"))?,
            state: AccountState::from_word(&row.state).ok_or_else(|| corrupt("state"))?,
            display_name: row.display_name,
            created_at: row.created_at,
        })
    }
}

/// False when another account of the site has the address.
pub async fn insert(connection: &mut PgConnection, account: &ConsoleAccount) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account.console_accounts (console_account_id, site, email, email_key, created_at) \
         values ($1, $2, $3, $4, $5) on conflict on constraint console_accounts_email_key do nothing",
        account.console_account_id.uuid(),
        account.site.word(),
        account.email.to_string(),
        account.email.key(),
        account.created_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
) -> sqlx::Result<Option<ConsoleAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select console_account_id, site, email, display_name, phone, state, created_at \
         from account.console_accounts where console_account_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(ConsoleAccount::try_from).transpose()?)
}

/// The account, locked until the transaction ends.
pub async fn get_for_update(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
) -> sqlx::Result<Option<ConsoleAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select console_account_id, site, email, display_name, phone, state, created_at \
         from account.console_accounts where console_account_id = $1 for no key update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(ConsoleAccount::try_from).transpose()?)
}

pub async fn find_by_email(
    connection: &mut PgConnection,
    site: Site,
    email: &Email,
) -> sqlx::Result<Option<ConsoleAccount>> {
    let row = sqlx::query_as!(
        Row,
        "select console_account_id, site, email, display_name, phone, state, created_at \
         from account.console_accounts where site = $1 and email_key = $2",
        site.word(),
        email.key(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(ConsoleAccount::try_from).transpose()?)
}

pub async fn list(
    connection: &mut PgConnection,
    after: Option<ConsoleAccountId>,
    limit: i64,
) -> sqlx::Result<Vec<ConsoleAccount>> {
    let rows = sqlx::query_as!(
        Row,
        "select console_account_id, site, email, display_name, phone, state, created_at \
         from account.console_accounts \
         where $1::uuid is null or console_account_id > $1 order by console_account_id limit $2",
        after.map(ConsoleAccountId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(ConsoleAccount::try_from(row)?)).collect()
}

pub async fn update_display_name(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
    display_name: &str,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.console_accounts set display_name = $2 where console_account_id = $1",
        id.uuid(),
        display_name,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Breaks `console_accounts_email_key` when another account of the site has the address.
pub async fn update_email(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
    email: &Email,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.console_accounts set email = $2, email_key = $3 where console_account_id = $1",
        id.uuid(),
        email.to_string(),
        email.key(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Breaks `console_accounts_phone_key` when another account of the site has the number.
pub async fn update_phone(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
    phone: &Phone,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.console_accounts set phone = $2 where console_account_id = $1",
        id.uuid(),
        phone.to_string(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Its closing begins.
pub async fn mark_closing(connection: &mut PgConnection, id: ConsoleAccountId) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.console_accounts set state = 'CLOSING' where console_account_id = $1 and state = 'OPEN'",
        id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Its closing was refused.
pub async fn mark_open(connection: &mut PgConnection, id: ConsoleAccountId) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.console_accounts set state = 'OPEN' where console_account_id = $1 and state = 'CLOSING'",
        id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// It is closed: its address is free, and what is personal is forgotten.
pub async fn mark_closed(
    connection: &mut PgConnection,
    id: ConsoleAccountId,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.console_accounts set state = 'CLOSED', closed_at = $2, email = $1::uuid || '@closed.invalid', \
         email_key = $1::uuid || '@closed.invalid', display_name = '', phone = null, password_hash = null \
         where console_account_id = $1 and state = 'CLOSING'",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Those whose closing began.
pub async fn list_closing(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<ConsoleAccountId>> {
    let ids = sqlx::query_scalar!(
        "select console_account_id from account.console_accounts where state = 'CLOSING' order by console_account_id limit $1",
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(ConsoleAccountId::from_uuid).collect())
}
