//! The keys of access tokens: a new one each day, published before it signs. The private half is derived from a secret and the key's id,
//! so that every process has it and no database does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::{Holder, Signer, USER_KEY_PREFIX};
use chassis::failure::Failure;
use chassis::id::uuid_at;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use crate::domain::session::{KEY_AFTERLIFE, SessionKey, next_key_from, published_keys, signing_keys};
use crate::store;

/// The signer of a key, for tokens of one subject.
fn derive(app: &App, key_id: &str, subject: &str) -> anyhow::Result<Signer> {
    let mut mac = Hmac::<Sha256>::new_from_slice(app.session_secret.expose_secret().as_bytes())?;
    mac.update(b"session key|");
    mac.update(key_id.as_bytes());
    Signer::new(key_id, subject, &URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn public_half(signer: &Signer) -> anyhow::Result<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(signer.trusted_key(Holder::Operator).x)?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("a public key is not 32 bytes"))
}

async fn make<R>(
    app: &App,
    connection: &mut PgConnection,
    now: OffsetDateTime,
    signs_from: OffsetDateTime,
) -> Result<SessionKey, Failure<R>> {
    let key_id = format!("{USER_KEY_PREFIX}{}", uuid_at(now));
    let public_key =
        derive(app, &key_id, "").and_then(|signer| public_half(&signer)).map_err(Failure::Fatal)?;
    let key = SessionKey { key_id, public_key, signs_from };
    store::session_keys::insert(connection, &key).await?;
    Ok(key)
}

/// The signer that signs now. A key of another secret cannot be derived: where none can, one is made, and signs at once.
pub async fn signer<R>(
    app: &App,
    connection: &mut PgConnection,
    subject: &str,
    now: OffsetDateTime,
) -> Result<Signer, Failure<R>> {
    if let Some(signer) = known_signer(app, connection, subject, now).await? {
        return Ok(signer);
    }
    store::session_keys::hold(connection).await?;
    if let Some(signer) = known_signer(app, connection, subject, now).await? {
        return Ok(signer);
    }
    let key = make(app, connection, now, now).await?;
    derive(app, &key.key_id, subject).map_err(Failure::Fatal)
}

async fn known_signer<R>(
    app: &App,
    connection: &mut PgConnection,
    subject: &str,
    now: OffsetDateTime,
) -> Result<Option<Signer>, Failure<R>> {
    let keys = store::session_keys::list_since(connection, now - KEY_AFTERLIFE).await?;
    for key in signing_keys(&keys, app.real_time.now()) {
        let signer = derive(app, &key.key_id, subject).map_err(Failure::Fatal)?;
        if public_half(&signer).map_err(Failure::Fatal)? == key.public_key {
            return Ok(Some(signer));
        }
    }
    Ok(None)
}

/// The keys that are published now.
pub async fn session_keys(app: &App) -> sqlx::Result<Vec<SessionKey>> {
    let now = app.real_time.now();
    let keys = store::session_keys::list_since(&mut *app.pool.acquire().await?, now - KEY_AFTERLIFE).await?;
    Ok(published_keys(&keys, now).to_vec())
}

/// Makes the next key when it is due.
pub async fn keep_session_keys<R>(app: &App) -> Result<(), Failure<R>> {
    let now = app.real_time.now();
    let mut tx = app.pool.begin().await?;
    store::session_keys::hold(&mut tx).await?;
    let keys = store::session_keys::list_since(&mut tx, now).await?;
    if let Some(signs_from) = next_key_from(&keys, now) {
        make(app, &mut tx, now, signs_from).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Makes a key that signs at once.
pub async fn rotate_session_key<R>(app: &App) -> Result<SessionKey, Failure<R>> {
    let now = app.real_time.now();
    let mut tx = app.pool.begin().await?;
    let key = make(app, &mut tx, now, now).await?;
    tx.commit().await?;
    Ok(key)
}
