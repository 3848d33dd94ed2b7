//! `account.sessions`, `account.refresh_tokens` and `account.sign_in_tries`

use chassis::auth::User;
use chassis::failure::Corrupt;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::session::{REFRESH_LIFE, RefreshToken, TRIES_WINDOW, WRONG_TRIES_MAX};

pub async fn insert(
    connection: &mut PgConnection,
    session_id: Uuid,
    user: User,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.sessions (session_id, account_id, created_at) values ($1, $2, $3)",
        session_id,
        user.to_string(),
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn insert_token(
    connection: &mut PgConnection,
    hash: &[u8; 32],
    session_id: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.refresh_tokens (token_hash, session_id, issued_at, expires_at) values ($1, $2, $3, $4)",
        hash.as_slice(),
        session_id,
        now,
        now + REFRESH_LIFE,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The token of a hash, with its session locked: of two exchanges at once the second sees what the first did.
pub async fn token_for_update(
    connection: &mut PgConnection,
    hash: &[u8; 32],
) -> sqlx::Result<Option<RefreshToken>> {
    let row = sqlx::query!(
        "select t.session_id, t.expires_at, t.used_at, s.account_id, s.ended_at from account.refresh_tokens t \
         join account.sessions s on s.session_id = t.session_id where t.token_hash = $1 for update",
        hash.as_slice(),
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let user = row.account_id.parse::<User>();
    Ok(Some(RefreshToken {
        session_id: row.session_id,
        user: user.map_err(|error| Corrupt::new("sessions", row.session_id, error))?,
        expires_at: row.expires_at,
        used: row.used_at.is_some(),
        session_ended: row.ended_at.is_some(),
    }))
}

pub async fn mark_used(
    connection: &mut PgConnection,
    hash: &[u8; 32],
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.refresh_tokens set used_at = $2 where token_hash = $1 and used_at is null",
        hash.as_slice(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Ends a session unless it has ended.
pub async fn mark_ended(
    connection: &mut PgConnection,
    session_id: Uuid,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.sessions set ended_at = $2, end_reason = $3 where session_id = $1 and ended_at is null",
        session_id,
        now,
        reason,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Ends every session of an account.
pub async fn mark_all_ended(
    connection: &mut PgConnection,
    user: User,
    reason: &str,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.sessions set ended_at = $2, end_reason = $3 where account_id = $1 and ended_at is null",
        user.to_string(),
        now,
        reason,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Counts a try as wrong before it is made, so that tries at once are not more than tries in turn. False: there is none left.
pub async fn take_try(
    connection: &mut PgConnection,
    identity: &[u8; 32],
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into account.sign_in_tries (identity_hash, since, wrong_count) values ($1, $2, 1) \
         on conflict on constraint sign_in_tries_pkey do update set \
           since = case when sign_in_tries.since <= $3 or sign_in_tries.wrong_count = 0 then $2 else sign_in_tries.since end, \
           wrong_count = case when sign_in_tries.since <= $3 then 1 else sign_in_tries.wrong_count + 1 end \
         where sign_in_tries.since <= $3 or sign_in_tries.wrong_count < $4",
        identity.as_slice(),
        now,
        now - TRIES_WINDOW,
        WRONG_TRIES_MAX,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a try back that was right, or was not made.
pub async fn give_try_back(connection: &mut PgConnection, identity: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.sign_in_tries set wrong_count = wrong_count - 1 where identity_hash = $1 and wrong_count > 0",
        identity.as_slice(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// From when on the wrong tries of an identity are counted.
pub async fn tries_since(
    connection: &mut PgConnection,
    identity: &[u8; 32],
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select since from account.sign_in_tries where identity_hash = $1",
        identity.as_slice()
    )
    .fetch_optional(connection)
    .await
}

/// Removes some of the sessions whose last token ended before a moment, with their tokens. Answers how many.
pub async fn delete_ended(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let ended = sqlx::query_scalar!(
        "select session_id from account.sessions s where created_at < $1 and not exists (select 1 from account.refresh_tokens t \
           where t.session_id = s.session_id and t.expires_at >= $1) limit $2 for update skip locked",
        before,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!("delete from account.refresh_tokens where session_id = any($1)", &ended)
        .execute(&mut *connection)
        .await?;
    let done = sqlx::query!("delete from account.sessions where session_id = any($1)", &ended)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Removes some of the tries that count no more. Answers how many.
pub async fn delete_tries(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from account.sign_in_tries where identity_hash in (select identity_hash from account.sign_in_tries \
         where since <= $1 limit $2 for update skip locked)",
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
