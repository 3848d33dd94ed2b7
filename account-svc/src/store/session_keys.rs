//! `account.session_keys`

use chassis::failure::Corrupt;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::session::SessionKey;

/// One process at a time decides whether a key is due.
const LOCK: i64 = 0x5e55_10e5;

/// Keeps others from making keys until the transaction ends.
pub async fn hold(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(connection).await.map(drop)
}

pub async fn insert(connection: &mut PgConnection, key: &SessionKey) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.session_keys (key_id, public_key, signs_from) values ($1, $2, $3)",
        key.key_id,
        key.public_key.as_slice(),
        key.signs_from,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The keys that began after a moment, and the one before them, in the order in which they sign.
pub async fn list_since(
    connection: &mut PgConnection,
    moment: OffsetDateTime,
) -> sqlx::Result<Vec<SessionKey>> {
    let rows = sqlx::query!(
        "select key_id, public_key, signs_from from account.session_keys \
         where signs_from >= coalesce((select max(signs_from) from account.session_keys where signs_from <= $1), $1) \
         order by signs_from, key_id",
        moment,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let public_key = row.public_key.try_into();
            let public_key =
                public_key.map_err(|_| Corrupt::new("session_keys", row.key_id.as_str(), "public_key"))?;
            Ok(SessionKey { key_id: row.key_id, public_key, signs_from: row.signs_from })
        })
        .collect()
}
