//! Signs in by password: a try is taken before the password is looked at, so that tries at once are not more than tries in turn; an
//! identity without an account costs as much time as one with.

use chassis::auth::User;
use chassis::failure::Failure;
use time::OffsetDateTime;

use super::App;
use super::hash_passwords::{Busy, verify};
use super::renew_session::{Tokens, begin_session};
use crate::domain::session::{Identity, TRIES_WINDOW, WRONG_TRIES_MAX};
use crate::store;

/// Why nobody is signed in.
#[derive(Debug)]
pub enum SignInRejection {
    /// No such account, or not its password.
    Wrong,
    /// There have been too many wrong tries.
    Exhausted {
        /// So many are allowed.
        limit: i32,
        /// When they are counted anew.
        retry_at: OffsetDateTime,
    },
    /// Too many passwords are being checked.
    Busy(Busy),
    /// A refresh token that is none, or no longer.
    NoSession,
}

/// Signs an identity in.
pub async fn sign_in(
    app: &App,
    identity: &Identity,
    password: String,
) -> Result<Tokens, Failure<SignInRejection>> {
    let now = app.real_time.now();
    let hash = identity.hash();
    let mut connection = app.pool.acquire().await?;
    if !store::sessions::take_try(&mut connection, &hash, now).await? {
        let since = store::sessions::tries_since(&mut connection, &hash).await?.unwrap_or(now);
        let retry_at = since + TRIES_WINDOW;
        return Err(Failure::Rejected(SignInRejection::Exhausted { limit: WRONG_TRIES_MAX, retry_at }));
    }
    let found = store::credentials::find(&mut connection, identity).await?;
    drop(connection);
    let (user, stored) = found.map_or((None, None), |(user, stored)| (Some(user), stored));
    let right = match verify(app, password, stored).await {
        Ok(right) => user.filter(|_| right),
        Err(failure) => {
            store::sessions::give_try_back(&mut *app.pool.acquire().await?, &hash).await?;
            return Err(failure.map(SignInRejection::Busy));
        }
    };
    let user: User = right.ok_or(Failure::Rejected(SignInRejection::Wrong))?;
    let mut tx = app.pool.begin().await?;
    store::sessions::give_try_back(&mut tx, &hash).await?;
    let tokens = begin_session(app, &mut tx, user, now).await?;
    tx.commit().await?;
    Ok(tokens)
}
