//! Mails a code (DEC-68). What is done for an identity without an account is the same: a challenge, and a mail to nobody.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::uuid_at;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::App;
use super::change_contact::requester;
use crate::domain::account_state::AccountState;
use crate::domain::code::{
    CODE_LIFE, CODE_PAUSE, CODES_FROM_SOURCE_MAX, CODES_MAX, Challenge, Exhausted, Purpose, challenge_hash,
    count_code, source_scope,
};
use crate::domain::email::Email;
use crate::domain::mail::{Language, Template};
use crate::domain::phone::Phone;
use crate::domain::session::Identity;
use crate::store;
use crate::store::mails::Mail;

/// Whose address, and what for.
#[derive(Debug, Clone)]
pub enum Request {
    /// Of an identity: signing in, setting a password.
    OfIdentity(Purpose, Identity),
    /// Of whoever registers with this identity.
    Register(Identity),
    /// Of the billing account that is to pay for a workspace, asked for by an account.
    BindWorkspace(Identity, String, User),
    /// Of an account that changes its address to this one; true: mailed to the new one.
    ChangeEmail(User, Email, To),
    /// Of an account that changes its phone number to this one.
    ChangePhone(User, Phone),
}

/// To which of two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The present one.
    Old,
    /// The new one.
    New,
}

/// Why no code is sent.
#[derive(Debug)]
pub enum SendCodeRejection {
    /// Too many, or one just now.
    Exhausted(Exhausted),
    /// The caller has no address.
    NoAddress(User),
    /// The caller is closed.
    Closed(User),
}

/// A code on its way.
#[derive(Debug, Clone)]
pub struct CodeSent {
    /// What is given with the code.
    pub challenge: String,
    /// Until when.
    pub expires_at: OffsetDateTime,
}

/// Who a code is for, where it goes, and what it is bound to.
struct Plan {
    purpose: Purpose,
    identity_hash: [u8; 32],
    object: String,
    requester: String,
    account: Option<User>,
    address: Option<Email>,
}

/// Writes the challenge and its mail; a worker sends it.
pub async fn send_code(
    app: &App,
    request: Request,
    source: &str,
    language: Language,
) -> Result<CodeSent, Failure<SendCodeRejection>> {
    let now = app.clock.now();
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(Failure::fatal)?;
    let challenge = URL_SAFE_NO_PAD.encode(bytes);
    let mut tx = app.pool.begin().await?;
    let plan = plan(&mut tx, request).await?;
    let scope = plan.purpose.scope(&plan.identity_hash);
    count(&mut tx, &source_scope(source), (CODES_FROM_SOURCE_MAX, Duration::ZERO), now).await?;
    count(&mut tx, &scope, (CODES_MAX, CODE_PAUSE), now).await?;
    let expires_at = now + CODE_LIFE;
    let challenge_id = uuid_at(now);
    let parameters = BTreeMap::from([("object".to_owned(), plan.object.clone())]);
    let row = Challenge {
        challenge_id,
        purpose: plan.purpose,
        identity_hash: plan.identity_hash,
        object: plan.object,
        requester: plan.requester,
        account_id: plan.account.map(|user| user.to_string()),
        expires_at,
        used_by: None,
    };
    store::challenges::insert(&mut tx, &challenge_hash(&challenge), &row, now).await?;
    let mail = Mail {
        mail_id: uuid_at(now),
        account_id: row.account_id.clone().filter(|_| plan.address.is_none()),
        address: plan.address.map(|email| email.key()),
        template: Template::Code(plan.purpose),
        language,
        parameters,
        workspace: None,
        challenge_id: Some(challenge_id),
        attempts: 0,
        created_at: now,
    };
    store::mails::insert(&mut tx, &mail).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(CodeSent { challenge, expires_at })
}

async fn count(
    connection: &mut PgConnection,
    scope: &[u8; 32],
    (limit, pause): (i32, Duration),
    now: OffsetDateTime,
) -> Result<(), Failure<SendCodeRejection>> {
    let sent = store::code_limits::sent_for_update(&mut *connection, scope, now).await?;
    let sent = count_code(sent, limit, pause, now)
        .map_err(|exhausted| Failure::Rejected(SendCodeRejection::Exhausted(exhausted)))?;
    store::code_limits::update_sent(connection, scope, sent).await?;
    Ok(())
}

async fn plan(connection: &mut PgConnection, request: Request) -> Result<Plan, Failure<SendCodeRejection>> {
    Ok(match request {
        Request::OfIdentity(purpose, identity) => {
            let account = store::credentials::find(connection, &identity).await?.map(|(user, _)| user);
            bare(purpose, &identity, account, None)
        }
        Request::Register(identity) => match &identity {
            // The address itself is to be proven, whoever has it.
            Identity::Console(_, email) => bare(Purpose::Register, &identity, None, Some(email.clone())),
            Identity::Billing(_) => {
                let account = store::credentials::find(connection, &identity).await?.map(|(user, _)| user);
                bare(Purpose::Register, &identity, account, None)
            }
        },
        Request::BindWorkspace(identity, workspace_id, requester) => {
            let account = store::credentials::find(connection, &identity).await?.map(|(user, _)| user);
            Plan {
                object: workspace_id,
                requester: requester.to_string(),
                ..bare(Purpose::BindWorkspace, &identity, account, None)
            }
        }
        Request::ChangeEmail(user, email, to) => {
            let (own, present) = own_identity(connection, user, to == To::Old).await?;
            let (purpose, address) = match to {
                To::Old => (Purpose::ChangeEmailOld, None),
                To::New => (Purpose::ChangeEmailNew, Some(email.clone())),
            };
            of_oneself(purpose, own, (user, present), email.key(), address)
        }
        Request::ChangePhone(user, phone) => {
            let (own, present) = own_identity(connection, user, true).await?;
            of_oneself(Purpose::ChangePhone, own, (user, present), phone.to_string(), None)
        }
    })
}

fn bare(purpose: Purpose, identity: &Identity, account: Option<User>, address: Option<Email>) -> Plan {
    let (object, requester) = (String::new(), String::new());
    Plan { purpose, identity_hash: identity.hash(), object, requester, account, address }
}

fn of_oneself(
    purpose: Purpose,
    own: Identity,
    (user, present): (User, Option<Email>),
    object: String,
    address: Option<Email>,
) -> Plan {
    let requester = requester(user, present.as_ref());
    Plan { object, requester, ..bare(purpose, &own, Some(user), address) }
}

/// The identity and present address of an account that is signed in; it must be open, and have an address if one is needed.
async fn own_identity(
    connection: &mut PgConnection,
    user: User,
    needs_address: bool,
) -> Result<(Identity, Option<Email>), Failure<SendCodeRejection>> {
    let rejected = |rejection| Err(Failure::Rejected(rejection));
    match user {
        User::Console(id) => match store::console_accounts::get(connection, id).await? {
            Some(account) if account.state == AccountState::Open => {
                let present = account.email.clone();
                Ok((Identity::Console(account.site, account.email), Some(present)))
            }
            _ => rejected(SendCodeRejection::Closed(user)),
        },
        User::Billing(id) => match store::billing_accounts::get(connection, id).await? {
            Some(account) if account.state != AccountState::Open => rejected(SendCodeRejection::Closed(user)),
            Some(account) if needs_address && account.email.is_none() => {
                rejected(SendCodeRejection::NoAddress(user))
            }
            Some(account) => Ok((Identity::Billing(account.username), account.email)),
            None => rejected(SendCodeRejection::Closed(user)),
        },
    }
}
