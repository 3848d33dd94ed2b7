//! Looks at a code that came: a try is taken before it is compared, and given back when it is right. It is used up in the transaction of its
//! effect, so that a code and what it proves happen together or not at all.

use std::collections::BTreeMap;

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::uuid_at;
use secrecy::ExposeSecret as _;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use crate::domain::code::{WINDOW, WRONG_CODES_MAX, Wanted, challenge_hash, is_right};
use crate::domain::mail::{Language, Template};
use crate::store;
use crate::store::mails::Mail;

/// What somebody sent to prove that he reads the mail.
#[derive(Debug, Clone)]
pub struct Proof {
    /// As SendCode answered it.
    pub challenge: String,
    /// As it stands in the mail.
    pub code: String,
}

/// Why a code proves nothing.
#[derive(Debug)]
pub enum CodeRejection {
    /// It is not right, or not for this: which is not told.
    Wrong,
    /// Too many wrong ones within a day.
    Exhausted {
        /// So many are allowed.
        limit: i32,
        /// When they are counted anew.
        retry_at: OffsetDateTime,
    },
    /// Another request used it in the meantime.
    Used,
}

/// A code that was right when it was looked at.
#[derive(Debug)]
pub struct Checked {
    hash: [u8; 32],
    challenge_id: Uuid,
    request_id: Uuid,
    /// Whose code it is.
    pub account: Option<User>,
}

/// Compares a code with what it must be for.
pub async fn check_code(
    app: &App,
    proof: &Proof,
    wanted: &Wanted<'_>,
) -> Result<Checked, Failure<CodeRejection>> {
    let now = app.clock.now();
    let scope = wanted.purpose.scope(&wanted.identity_hash);
    let mut connection = app.pool.acquire().await?;
    let Some(count) = store::code_limits::take_try(&mut connection, &scope, now).await? else {
        let since = store::code_limits::wrong_since(&mut connection, &scope).await?.unwrap_or(now);
        let rejection = CodeRejection::Exhausted { limit: WRONG_CODES_MAX, retry_at: since + WINDOW };
        return Err(Failure::Rejected(rejection));
    };
    let hash = challenge_hash(&proof.challenge);
    let found = store::challenges::get(&mut connection, &hash).await?;
    let secret = app.session_secret.expose_secret().as_bytes();
    // A challenge that is not there is compared all the same: it takes as long.
    let challenge_id = found.as_ref().map_or(Uuid::nil(), |challenge| challenge.challenge_id);
    let right = is_right(secret, challenge_id, &proof.code);
    let fitting = found.filter(|challenge| right && challenge.fits(wanted, now));
    let Some(challenge) = fitting else {
        if count == WRONG_CODES_MAX {
            tell_of_pause(&mut connection, wanted, now).await?;
        }
        return Err(Failure::Rejected(CodeRejection::Wrong));
    };
    store::code_limits::give_try_back(&mut connection, &scope).await?;
    let account = challenge.account_id.as_deref().map(str::parse::<User>).transpose();
    Ok(Checked {
        hash,
        challenge_id,
        request_id: wanted.request_id,
        account: account.map_err(|error| Failure::fatal(format!("challenge {challenge_id}: {error}")))?,
    })
}

/// Uses the code up, in the transaction of what it proves.
pub async fn use_up(
    connection: &mut PgConnection,
    checked: &Checked,
    now: OffsetDateTime,
) -> Result<(), Failure<CodeRejection>> {
    let Checked { hash, challenge_id, request_id, .. } = checked;
    let used = store::challenges::mark_used(connection, *challenge_id, hash, *request_id, now).await?;
    if used { Ok(()) } else { Err(Failure::Rejected(CodeRejection::Used)) }
}

/// The account that is being tried is told, once a day.
async fn tell_of_pause(
    connection: &mut PgConnection,
    wanted: &Wanted<'_>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let account_id = store::challenges::account_of(&mut *connection, &wanted.identity_hash).await?;
    let mail = Mail {
        mail_id: uuid_at(now),
        account_id,
        address: None,
        template: Template::CodesPaused,
        language: Language::Zh,
        parameters: BTreeMap::from([("limit".to_owned(), WRONG_CODES_MAX.to_string())]),
        workspace: None,
        challenge_id: None,
        attempts: 0,
        created_at: now,
    };
    store::mails::insert(connection, &mail).await
}
