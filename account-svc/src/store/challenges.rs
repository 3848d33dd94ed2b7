//! `account.challenges`

use chassis::failure::Corrupt;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::code::{Challenge, Purpose};

pub async fn insert(
    connection: &mut PgConnection,
    hash: &[u8; 32],
    challenge: &Challenge,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.challenges (challenge_hash, challenge_id, purpose, identity_hash, object, requester, \
         account_id, expires_at, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        hash.as_slice(),
        challenge.challenge_id,
        challenge.purpose.word(),
        challenge.identity_hash.as_slice(),
        challenge.object,
        challenge.requester,
        challenge.account_id,
        challenge.expires_at,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn get(connection: &mut PgConnection, hash: &[u8; 32]) -> sqlx::Result<Option<Challenge>> {
    let row = sqlx::query!(
        "select challenge_id, purpose, identity_hash, object, requester, account_id, expires_at, used_by \
         from account.challenges where challenge_hash = $1",
        hash.as_slice(),
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = |problem: &str| Corrupt::new("challenges", row.challenge_id, problem);
    Ok(Some(Challenge {
        challenge_id: row.challenge_id,
        purpose: Purpose::from_word(&row.purpose).ok_or_else(|| corrupt("purpose"))?,
        identity_hash: row.identity_hash.as_slice().try_into().map_err(|_| corrupt("identity_hash"))?,
        object: row.object,
        requester: row.requester,
        account_id: row.account_id,
        expires_at: row.expires_at,
        used_by: row.used_by,
    }))
}

/// Whose account an identity is, as far as codes were asked for it.
pub async fn account_of(
    connection: &mut PgConnection,
    identity_hash: &[u8; 32],
) -> sqlx::Result<Option<String>> {
    let found = sqlx::query_scalar!(
        "select account_id from account.challenges where identity_hash = $1 and account_id is not null \
         order by created_at desc limit 1",
        identity_hash.as_slice(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.flatten())
}

/// Uses a code up. False when another request has used it.
pub async fn mark_used(
    connection: &mut PgConnection,
    challenge_id: Uuid,
    hash: &[u8; 32],
    request_id: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update account.challenges set used_at = coalesce(used_at, $3), used_by = $4 \
         where challenge_hash = $1 and challenge_id = $2 and (used_by is null or used_by = $4)",
        hash.as_slice(),
        challenge_id,
        now,
        request_id,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets the codes of an account that nobody has used: they went to an address that is its own no more.
pub async fn delete_unused(connection: &mut PgConnection, account_id: &str) -> sqlx::Result<()> {
    sqlx::query!("delete from account.challenges where account_id = $1 and used_by is null", account_id)
        .execute(connection)
        .await
        .map(drop)
}

/// Removes some that prove nothing any more. Answers how many.
pub async fn delete_before(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from account.challenges where challenge_hash in (select challenge_hash from account.challenges \
         where created_at < $1 limit $2 for update skip locked)",
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
