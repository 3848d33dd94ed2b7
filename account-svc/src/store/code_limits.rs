//! `account.code_limits`

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::code::{Sent, WINDOW, WRONG_CODES_MAX};

/// What a scope has had, locked until the transaction ends; None before its first code.
pub async fn sent_for_update(
    connection: &mut PgConnection,
    scope: &[u8; 32],
    now: OffsetDateTime,
) -> sqlx::Result<Option<Sent>> {
    sqlx::query!(
        "insert into account.code_limits (scope_hash, sent_since, sent_count, sent_at, wrong_since, wrong_count) \
         values ($1, $2, 0, $2, $2, 0) on conflict on constraint code_limits_pkey do nothing",
        scope.as_slice(),
        now,
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query!(
        "select sent_since, sent_count, sent_at from account.code_limits where scope_hash = $1 for update",
        scope.as_slice(),
    )
    .fetch_one(connection)
    .await?;
    let sent = Sent { since: row.sent_since, count: row.sent_count, last: row.sent_at };
    Ok((sent.count > 0).then_some(sent))
}

pub async fn update_sent(connection: &mut PgConnection, scope: &[u8; 32], sent: Sent) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.code_limits set sent_since = $2, sent_count = $3, sent_at = $4 where scope_hash = $1",
        scope.as_slice(),
        sent.since,
        sent.count,
        sent.last,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Counts a code as wrong before it is looked at; the pause of a day begins with the last that is allowed. Counted before, so that tries at once are not more than tries in turn. None: there is no try left.
pub async fn take_try(
    connection: &mut PgConnection,
    scope: &[u8; 32],
    now: OffsetDateTime,
) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "insert into account.code_limits as l (scope_hash, sent_since, sent_count, sent_at, wrong_since, wrong_count) \
         values ($1, $2, 0, $2, $2, 1) on conflict on constraint code_limits_pkey do update set \
           wrong_since = case when l.wrong_since <= $3 or l.wrong_count = 0 or l.wrong_count + 1 = $4 then $2 \
             else l.wrong_since end, \
           wrong_count = case when l.wrong_since <= $3 then 1 else l.wrong_count + 1 end \
         where l.wrong_since <= $3 or l.wrong_count < $4 returning wrong_count",
        scope.as_slice(),
        now,
        now - WINDOW,
        WRONG_CODES_MAX,
    )
    .fetch_optional(connection)
    .await
}

/// Gives a try back whose code was right.
pub async fn give_try_back(connection: &mut PgConnection, scope: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.code_limits set wrong_count = wrong_count - 1 where scope_hash = $1 and wrong_count > 0",
        scope.as_slice(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// From when on the wrong codes of a scope are counted.
pub async fn wrong_since(
    connection: &mut PgConnection,
    scope: &[u8; 32],
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!("select wrong_since from account.code_limits where scope_hash = $1", scope.as_slice())
        .fetch_optional(connection)
        .await
}

/// Removes some that limit nothing any more. Answers how many.
pub async fn delete_before(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from account.code_limits where scope_hash in (select scope_hash from account.code_limits \
         where wrong_since < $1 and sent_since < $1 limit $2 for update skip locked)",
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
