//! Begins, renews and ends sessions. A refresh token works once; one that comes again ends its session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::audit;
use chassis::auth::{TOKEN_LIFE, User};
use chassis::failure::Failure;
use chassis::id::uuid_at;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use super::keep_session_keys::signer;
use super::sign_in::SignInRejection;
use crate::domain::session::{Exchange, REFRESH_LIFE, RefreshToken};
use crate::store;

/// Every service takes users' tokens.
const AUDIENCE: [&str; 4] = ["account-svc", "workspace-svc", "billing-svc", "settlement-svc"];

/// What a session gives.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Who.
    pub user: User,
    /// For calls.
    pub access: String,
    /// When it ends.
    pub access_expires_at: OffsetDateTime,
    /// For the next exchange.
    pub refresh: String,
    /// When it ends.
    pub refresh_expires_at: OffsetDateTime,
}

type Outcome<T> = Result<T, Failure<SignInRejection>>;

fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Begins a session in the transaction of what proved the user.
pub async fn begin_session(
    app: &App,
    connection: &mut PgConnection,
    user: User,
    now: OffsetDateTime,
) -> Outcome<Tokens> {
    let session_id = uuid_at(now);
    store::sessions::insert(&mut *connection, session_id, user, now).await?;
    issue(app, connection, session_id, user, now).await
}

async fn issue(
    app: &App,
    connection: &mut PgConnection,
    session_id: Uuid,
    user: User,
    now: OffsetDateTime,
) -> Outcome<Tokens> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(Failure::fatal)?;
    let refresh = URL_SAFE_NO_PAD.encode(bytes);
    store::sessions::insert_token(&mut *connection, &hash_of(&refresh), session_id, now).await?;
    let access = signer(app, connection, &user.to_string(), now).await?;
    let access = access.token(&AUDIENCE).map_err(Failure::Fatal)?;
    Ok(Tokens {
        user,
        access,
        access_expires_at: now + TOKEN_LIFE,
        refresh,
        refresh_expires_at: now + REFRESH_LIFE,
    })
}

/// Exchanges a refresh token for new tokens.
pub async fn renew_session(app: &App, refresh: &str) -> Outcome<Tokens> {
    let now = app.real_time.now();
    let mut tx = app.pool.begin().await?;
    let token = load(&mut tx, refresh).await?;
    match token.exchange(now) {
        Exchange::Refuse => Err(Failure::Rejected(SignInRejection::NoSession)),
        Exchange::EndSession => {
            store::sessions::mark_ended(&mut tx, token.session_id, "REFRESH_TOKEN_REUSED", now).await?;
            tx.commit().await?;
            tracing::warn!(session_id = %token.session_id, "a refresh token came twice: its session has ended");
            Err(Failure::Rejected(SignInRejection::NoSession))
        }
        Exchange::Renew => {
            if store::sessions::mark_used(&mut tx, &hash_of(refresh), now).await? != 1 {
                return Err(chassis::bug!("a refresh token of {} was used under its lock", token.session_id));
            }
            let tokens = issue(app, &mut tx, token.session_id, token.user, now).await?;
            tx.commit().await?;
            Ok(tokens)
        }
    }
}

/// Ends the session of a refresh token.
pub async fn revoke_session(app: &App, refresh: &str) -> Outcome<()> {
    let mut tx = app.pool.begin().await?;
    let token = load(&mut tx, refresh).await?;
    store::sessions::mark_ended(&mut tx, token.session_id, "REVOKED", app.real_time.now()).await?;
    audit::note(&mut tx, app.schema, "SessionService/Revoke", &[token.user.to_string()]).await?;
    tx.commit().await?;
    Ok(())
}

async fn load(connection: &mut PgConnection, refresh: &str) -> Outcome<RefreshToken> {
    let found = store::sessions::token_for_update(connection, &hash_of(refresh)).await?;
    found.ok_or(Failure::Rejected(SignInRejection::NoSession))
}
