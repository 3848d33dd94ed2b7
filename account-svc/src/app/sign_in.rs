//! Signs in by password: a try is taken before the password is looked at, so that tries at once are not more than tries in turn; an
//! identity without an account costs as much time as one with.

use chassis::audit;
use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::uuid_at;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::Instrument as _;

use super::App;
use super::check_code::{CodeRejection, Proof, check_code, use_up};
use super::hash_passwords::{Busy, hash, take_place, verify};
use super::renew_session::{Tokens, begin_session};
use crate::domain::code::{Purpose, Wanted};
use crate::domain::password::Password;
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
    /// The code proves nothing.
    Code(CodeRejection),
}

type Outcome = Result<Tokens, Failure<SignInRejection>>;

/// Signs an identity in by a mailed code.
pub async fn sign_in_by_code(app: &App, identity: &Identity, proof: &Proof) -> Outcome {
    let wanted = Wanted {
        purpose: Purpose::SignIn,
        identity_hash: identity.hash(),
        object: "",
        requester: "",
        request_id: uuid_at(app.clock.now()),
    };
    let rejected = |failure: Failure<CodeRejection>| failure.map(SignInRejection::Code);
    let checked = check_code(app, proof, &wanted).await.map_err(rejected)?;
    let user = checked.account.ok_or(Failure::Rejected(SignInRejection::Code(CodeRejection::Wrong)))?;
    let mut tx = app.pool.begin().await?;
    use_up(&mut tx, &checked, app.clock.now()).await.map_err(rejected)?;
    still_of(&mut tx, identity, user).await?;
    let tokens = begin_session(app, &mut tx, user, app.real_time.now()).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// The identity must still be the account's, and the account open: an address may have been left since its code was mailed. Answers the password hash,
/// which does not change until the transaction ends.
async fn still_of(
    connection: &mut PgConnection,
    identity: &Identity,
    user: User,
) -> Result<Option<String>, Failure<SignInRejection>> {
    match store::credentials::find_for_share(connection, identity).await? {
        Some((found, hash)) if found == user => Ok(hash),
        _ => Err(Failure::Rejected(SignInRejection::Code(CodeRejection::Wrong))),
    }
}

/// Sets a new password by a mailed code, and ends every session of the account.
pub async fn set_password(
    app: &App,
    identity: &Identity,
    proof: &Proof,
    password: Password,
) -> Result<(), Failure<SignInRejection>> {
    let place = take_place(app).map_err(|busy| Failure::Rejected(SignInRejection::Busy(busy)))?;
    let wanted = Wanted {
        purpose: Purpose::SetPassword,
        identity_hash: identity.hash(),
        object: "",
        requester: "",
        request_id: uuid_at(app.clock.now()),
    };
    let rejected = |failure: Failure<CodeRejection>| failure.map(SignInRejection::Code);
    let checked = check_code(app, proof, &wanted).await.map_err(rejected)?;
    let wrong = || Failure::Rejected(SignInRejection::Code(CodeRejection::Wrong));
    let user = checked.account.ok_or_else(wrong)?;
    let hash = hash(app, password).await?;
    drop(place);
    let mut tx = app.pool.begin().await?;
    use_up(&mut tx, &checked, app.clock.now()).await.map_err(rejected)?;
    still_of(&mut tx, identity, user).await?;
    if !store::credentials::replace(&mut tx, user, &hash).await? {
        return Err(wrong());
    }
    store::sessions::mark_all_ended(&mut tx, user, "PASSWORD_SET", app.real_time.now()).await?;
    audit::note(&mut tx, app.schema, "SessionService/SetPassword", &[user.to_string()]).await?;
    tx.commit().await?;
    Ok(())
}

/// Signs an identity in. It goes on when its caller has gone: a right password is never left counted as a wrong one.
pub async fn sign_in(app: &App, identity: Identity, password: String) -> Outcome {
    let place = take_place(app).map_err(|busy| Failure::Rejected(SignInRejection::Busy(busy)))?;
    let app = app.clone();
    let work = async move {
        let tokens = try_password(&app, &identity, password).await;
        drop(place);
        tokens
    };
    tokio::spawn(work.instrument(tracing::Span::current())).await.map_err(Failure::fatal)?
}

async fn try_password(app: &App, identity: &Identity, password: String) -> Outcome {
    let now = app.real_time.now();
    let hash = identity.hash();
    let mut connection = app.pool.acquire().await?;
    if !store::sessions::take_try(&mut connection, &hash, now).await? {
        let since = store::sessions::tries_since(&mut connection, &hash).await?.unwrap_or(now);
        let retry_at = since + TRIES_WINDOW;
        return Err(Failure::Rejected(SignInRejection::Exhausted { limit: WRONG_TRIES_MAX, retry_at }));
    }
    drop(connection);
    let checked = check(app, identity, password).await;
    if !matches!(checked, Ok(None)) {
        store::sessions::give_try_back(&mut *app.pool.acquire().await?, &hash).await?;
    }
    let (user, proven) = checked?.ok_or(Failure::Rejected(SignInRejection::Wrong))?;
    let mut tx = app.pool.begin().await?;
    // A password that was replaced while this one was compared begins no session.
    let standing = still_of(&mut tx, identity, user).await;
    if standing.map_err(|failure| failure.map(|_| SignInRejection::Wrong))? != proven {
        return Err(Failure::Rejected(SignInRejection::Wrong));
    }
    let tokens = begin_session(app, &mut tx, user, now).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// The user whose password it is, and its hash; None when it is nobody's.
async fn check(
    app: &App,
    identity: &Identity,
    password: String,
) -> Result<Option<(User, Option<String>)>, Failure<SignInRejection>> {
    let found = store::credentials::find(&mut *app.pool.acquire().await?, identity).await?;
    let (user, stored) = found.map_or((None, None), |(user, stored)| (Some(user), stored));
    let right = verify(app, password, stored.clone()).await?;
    Ok(user.filter(|_| right).map(|user| (user, stored)))
}
