//! The password hashes of `account.console_accounts` and `account.billing_accounts`

use chassis::auth::User;
use chassis::id::{BillingAccountId, ConsoleAccountId};
use sqlx::PgConnection;

use crate::domain::session::Identity;

/// The account of an identity and its password hash, each if there is one.
pub async fn find(
    connection: &mut PgConnection,
    identity: &Identity,
) -> sqlx::Result<Option<(User, Option<String>)>> {
    match identity {
        Identity::Console(site, email) => {
            let row = sqlx::query!(
                "select console_account_id, password_hash from account.console_accounts \
                 where site = $1 and email_key = $2 and state <> 'CLOSED'",
                site.word(),
                email.key(),
            )
            .fetch_optional(connection)
            .await?;
            let user = |id| User::Console(ConsoleAccountId::from_uuid(id));
            Ok(row.map(|row| (user(row.console_account_id), row.password_hash)))
        }
        Identity::Billing(username) => {
            let row = sqlx::query!(
                "select billing_account_id, password_hash from account.billing_accounts \
                 where username_key = $1 and state <> 'CLOSED'",
                username.key(),
            )
            .fetch_optional(connection)
            .await?;
            let user = |id| User::Billing(BillingAccountId::from_uuid(id));
            Ok(row.map(|row| (user(row.billing_account_id), row.password_hash)))
        }
    }
}

/// The same, and nothing of it changes until the transaction ends.
pub async fn find_for_share(
    connection: &mut PgConnection,
    identity: &Identity,
) -> sqlx::Result<Option<(User, Option<String>)>> {
    match identity {
        Identity::Console(site, email) => {
            let row = sqlx::query!(
                "select console_account_id, password_hash from account.console_accounts \
                 where site = $1 and email_key = $2 and state <> 'CLOSED' for share",
                site.word(),
                email.key(),
            )
            .fetch_optional(connection)
            .await?;
            let user = |id| User::Console(ConsoleAccountId::from_uuid(id));
            Ok(row.map(|row| (user(row.console_account_id), row.password_hash)))
        }
        Identity::Billing(username) => {
            let row = sqlx::query!(
                "select billing_account_id, password_hash from account.billing_accounts \
                 where username_key = $1 and state <> 'CLOSED' for share",
                username.key(),
            )
            .fetch_optional(connection)
            .await?;
            let user = |id| User::Billing(BillingAccountId::from_uuid(id));
            Ok(row.map(|row| (user(row.billing_account_id), row.password_hash)))
        }
    }
}

/// Replaces an account's password. False when there is no such open account.
pub async fn replace(connection: &mut PgConnection, user: User, hash: &str) -> sqlx::Result<bool> {
    let done = match user {
        User::Console(id) => {
            sqlx::query!(
                "update account.console_accounts set password_hash = $2 where console_account_id = $1 and state <> 'CLOSED'",
                id.uuid(),
                hash,
            )
            .execute(connection)
            .await?
        }
        User::Billing(id) => {
            sqlx::query!(
                "update account.billing_accounts set password_hash = $2 where billing_account_id = $1 and state <> 'CLOSED'",
                id.uuid(),
                hash,
            )
            .execute(connection)
            .await?
        }
    };
    Ok(done.rows_affected() == 1)
}

/// Whether one of the two accounts has no password yet.
pub async fn is_missing(
    connection: &mut PgConnection,
    console: ConsoleAccountId,
    billing: Option<BillingAccountId>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from account.console_accounts where console_account_id = $1 and password_hash is null and state <> 'CLOSED')
             or exists (select from account.billing_accounts where billing_account_id = $2 and password_hash is null and state <> 'CLOSED') as "missing!""#,
        console.uuid(),
        billing.map(BillingAccountId::uuid),
    )
    .fetch_one(connection)
    .await
}

/// Gives the accounts of a registration their first password; one that has a password keeps it (ACC-8).
pub async fn set_first(
    connection: &mut PgConnection,
    console: ConsoleAccountId,
    billing: Option<BillingAccountId>,
    hash: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.console_accounts set password_hash = $2 where console_account_id = $1 and password_hash is null \
         and state <> 'CLOSED'",
        console.uuid(),
        hash,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update account.billing_accounts set password_hash = $2 where billing_account_id = $1 and password_hash is null \
         and state <> 'CLOSED'",
        billing.map(BillingAccountId::uuid),
        hash,
    )
    .execute(connection)
    .await
    .map(drop)
}
