//! `workspace.retired_accounts`, and the lock that keeps binding and retiring apart.

use chassis::auth::User;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// The class of an account among advisory locks.
const ACCOUNT: i64 = 0x0acc_0000;

/// Waits for whoever retires the account, and keeps it from being retired until the transaction ends. True when it is retired.
pub async fn hold_and_check(connection: &mut PgConnection, account: User) -> sqlx::Result<bool> {
    let id = account.to_string();
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended($1, $2))", id, ACCOUNT)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!(
        r#"select exists (select 1 from workspace.retired_accounts where account_id = $1) as "exists!""#,
        id,
    )
    .fetch_one(connection)
    .await
}

/// Waits for whoever binds to the account, and retires it.
pub async fn insert(connection: &mut PgConnection, account: User, now: OffsetDateTime) -> sqlx::Result<()> {
    let id = account.to_string();
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, $2))", id, ACCOUNT)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "insert into workspace.retired_accounts (account_id, retired_at) values ($1, $2) \
         on conflict on constraint retired_accounts_pkey do nothing",
        id,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn delete(connection: &mut PgConnection, account: User) -> sqlx::Result<()> {
    sqlx::query!("delete from workspace.retired_accounts where account_id = $1", account.to_string())
        .execute(connection)
        .await
        .map(drop)
}
