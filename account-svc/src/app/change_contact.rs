//! Changes where an account is reached (ACC-10): codes from the present address and from the new one prove both.

use chassis::auth::User;
use chassis::failure::{Failure, broken_constraint};
use chassis::id::{BillingAccountId, ConsoleAccountId};
use chassis::idempotency::{Idempotent, Outcome};
use uuid::Uuid;

use super::App;
use super::check_code::{Checked, CodeRejection, Proof, check_code, use_up};
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::BillingAccount;
use crate::domain::code::{Purpose, Wanted};
use crate::domain::console_account::ConsoleAccount;
use crate::domain::email::Email;
use crate::domain::phone::Phone;
use crate::domain::session::Identity;
use crate::store;

/// Why an account is not changed.
#[derive(Debug)]
pub enum ChangeRejection {
    /// No such account.
    NotFound(User),
    /// It is closed, or being closed.
    Closed(User),
    /// The code proves nothing.
    Code(CodeRejection),
    /// Another account of the site has the address.
    EmailTaken,
    /// Another account of the site has the number.
    PhoneTaken,
}

/// Where an account wants to be reached.
#[derive(Debug, Clone)]
pub enum Contact {
    /// At this address, with the codes of the present and of the new one.
    Email(Email, Option<Proof>, Proof),
    /// At this number, with the code of the present address.
    Phone(Phone, Proof),
}

type Result2<T> = Result<Outcome<T>, Failure<ChangeRejection>>;

fn code(failure: Failure<CodeRejection>) -> Failure<ChangeRejection> {
    failure.map(ChangeRejection::Code)
}

/// Who changes, from which present address: a code that was asked for at an address that was left since is worth nothing.
pub fn requester(user: User, address: Option<&Email>) -> String {
    format!("{user} {}", address.map(Email::key).unwrap_or_default())
}

/// Looks at the codes that a change needs; a present address must agree.
async fn check(
    app: &App,
    (user, address): (User, Option<&Email>),
    identity: &Identity,
    contact: &Contact,
    request_id: Uuid,
) -> Result<Vec<Checked>, Failure<ChangeRejection>> {
    let requester = requester(user, address);
    let has_address = address.is_some();
    let wanted = |purpose, object| Wanted {
        purpose,
        identity_hash: identity.hash(),
        object,
        requester: &requester,
        request_id,
    };
    let missing = || Failure::Rejected(ChangeRejection::Code(CodeRejection::Wrong));
    let mut checked = Vec::new();
    match contact {
        Contact::Email(email, old, new) => {
            let object = email.key();
            if has_address {
                let old = old.as_ref().ok_or_else(missing)?;
                let wanted = wanted(Purpose::ChangeEmailOld, object.as_str());
                checked.push(check_code(app, old, &wanted).await.map_err(code)?);
            }
            let wanted = wanted(Purpose::ChangeEmailNew, object.as_str());
            checked.push(check_code(app, new, &wanted).await.map_err(code)?);
        }
        Contact::Phone(phone, proof) => {
            let object = phone.to_string();
            let wanted = wanted(Purpose::ChangePhone, object.as_str());
            checked.push(check_code(app, proof, &wanted).await.map_err(code)?);
        }
    }
    Ok(checked)
}

/// Changes where a console account is reached, once per request.
pub async fn change_console_contact(
    app: &App,
    request: &Idempotent<ConsoleAccount>,
    id: ConsoleAccountId,
    contact: &Contact,
) -> Result2<ConsoleAccount> {
    let user = User::Console(id);
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let account = store::console_accounts::get(&mut *app.pool.acquire().await?, id).await?;
    let account = account.ok_or(Failure::Rejected(ChangeRejection::NotFound(user)))?;
    let present = account.email.clone();
    let identity = Identity::Console(account.site, account.email);
    let checked = check(app, (user, Some(&present)), &identity, contact, request.effect_id()).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut account = open_console_account(&mut tx, id).await?;
    if account.email != present {
        return Err(Failure::Rejected(ChangeRejection::Code(CodeRejection::Wrong)));
    }
    for checked in &checked {
        use_up(&mut tx, checked, now).await.map_err(code)?;
    }
    let written = match contact {
        Contact::Email(email, ..) => {
            account.email = email.clone();
            store::console_accounts::update_email(&mut tx, id, email).await
        }
        Contact::Phone(phone, _) => {
            account.phone = Some(phone.clone());
            store::console_accounts::update_phone(&mut tx, id, phone).await
        }
    };
    written.map_err(|error| match broken_constraint(&error) {
        Some("console_accounts_email_key") => Failure::Rejected(ChangeRejection::EmailTaken),
        Some("console_accounts_phone_key") => Failure::Rejected(ChangeRejection::PhoneTaken),
        _ => Failure::from(error),
    })?;
    if matches!(contact, Contact::Email(..)) {
        store::challenges::delete_unused(&mut tx, &user.to_string()).await?;
    }
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// Changes where a billing account is reached, once per request.
pub async fn change_billing_contact(
    app: &App,
    request: &Idempotent<BillingAccount>,
    id: BillingAccountId,
    contact: &Contact,
) -> Result2<BillingAccount> {
    let user = User::Billing(id);
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let account = store::billing_accounts::get(&mut *app.pool.acquire().await?, id).await?;
    let account = account.ok_or(Failure::Rejected(ChangeRejection::NotFound(user)))?;
    let present = account.email.clone();
    let identity = Identity::Billing(account.username);
    let checked = check(app, (user, present.as_ref()), &identity, contact, request.effect_id()).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut account = open_billing_account(&mut tx, id).await?;
    if account.email != present {
        return Err(Failure::Rejected(ChangeRejection::Code(CodeRejection::Wrong)));
    }
    for checked in &checked {
        use_up(&mut tx, checked, now).await.map_err(code)?;
    }
    match contact {
        Contact::Email(email, ..) => {
            store::billing_accounts::update_email(&mut tx, id, email).await?;
            account.email = Some(email.clone());
        }
        Contact::Phone(phone, _) => {
            store::billing_accounts::update_phone(&mut tx, id, phone).await?;
            account.phone = Some(phone.clone());
        }
    }
    if matches!(contact, Contact::Email(..)) {
        store::challenges::delete_unused(&mut tx, &user.to_string()).await?;
    }
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// The account, locked and open.
pub async fn open_console_account(
    connection: &mut sqlx::PgConnection,
    id: ConsoleAccountId,
) -> Result<ConsoleAccount, Failure<ChangeRejection>> {
    let account = store::console_accounts::get_for_update(connection, id).await?;
    let account = account.ok_or(Failure::Rejected(ChangeRejection::NotFound(User::Console(id))))?;
    if account.state == AccountState::Open {
        Ok(account)
    } else {
        Err(Failure::Rejected(ChangeRejection::Closed(User::Console(id))))
    }
}

/// The account, locked and open.
pub async fn open_billing_account(
    connection: &mut sqlx::PgConnection,
    id: BillingAccountId,
) -> Result<BillingAccount, Failure<ChangeRejection>> {
    let account = store::billing_accounts::get_for_update(connection, id).await?;
    let account = account.ok_or(Failure::Rejected(ChangeRejection::NotFound(User::Billing(id))))?;
    if account.state == AccountState::Open {
        Ok(account)
    } else {
        Err(Failure::Rejected(ChangeRejection::Closed(User::Billing(id))))
    }
}
