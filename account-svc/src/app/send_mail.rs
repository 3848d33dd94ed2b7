//! Puts mails on their way, and sends those that wait. A mail is sent at least once: a process that dies between sending and noting it sends
//! it again.

use std::collections::BTreeMap;

use chassis::auth::User;
use chassis::failure::{Failure, is_transient};
use chassis::fault;
use chassis::id::{WorkspaceId, uuid_at};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::status::Refused;
use chassis::worker::Claim;
use secrecy::ExposeSecret as _;
use time::Duration;
use tokio::time::timeout;

use super::App;
use crate::domain::account_state::AccountState;
use crate::domain::code::{CODE_LIFE, derive};
use crate::domain::mail::{Language, Template};
use crate::peers::mailer::{Letter, NotSent};
use crate::store;
use crate::store::mails::Mail;

/// No such account.
#[derive(Debug)]
pub struct NoAccount(pub User);

/// Puts a mail to an account on its way, once per request.
pub async fn send_mail(
    app: &App,
    request: &Idempotent<()>,
    user: User,
    (template, workspace): (Template, Option<WorkspaceId>),
    language: Language,
    parameters: BTreeMap<String, String>,
) -> Result<Outcome<()>, Failure<NoAccount>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let exists = match user {
        User::Console(id) => store::console_accounts::get(&mut tx, id).await?.is_some(),
        User::Billing(id) => store::billing_accounts::get(&mut tx, id).await?.is_some(),
    };
    if !exists {
        return Err(Failure::Rejected(NoAccount(user)));
    }
    let mail = Mail {
        mail_id: uuid_at(now),
        account_id: Some(user.to_string()),
        address: None,
        template,
        language,
        parameters,
        workspace,
        challenge_id: None,
        attempts: 0,
        created_at: now,
    };
    store::mails::insert(&mut tx, &mail).await?;
    request.store(&mut tx, app.schema, &()).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(()))
}

/// What one process at a time may do.
pub const CLAIM: &str = "send_mails";
/// A claim holds 10 seconds, and a mail server may take its time too.
const ASKING_MAX: std::time::Duration = std::time::Duration::from_secs(2);
/// The parameter that names a workspace.
pub const WORKSPACE: &str = "workspace";
/// The longest wait between two tries.
const BACKOFF_MAX_SECS: i32 = 300;
/// Mails that have left are kept so long, without their address.
const KEPT: Duration = Duration::days(2);

/// Sends the first of those that are due: codes before everything else. True when there may be more. One at a time, so that whoever sends may prove
/// before each that it alone does.
pub async fn deliver_mail(app: &App) -> anyhow::Result<bool> {
    let due = store::mails::list_due(&mut *app.pool.acquire().await?, 1).await?;
    let Some(mail) = due.first() else { return Ok(false) };
    if let Err(error) = deliver(app, mail).await {
        if error.downcast_ref::<sqlx::Error>().is_some_and(is_transient) {
            return Err(error.context("mails"));
        }
        // One that cannot be written holds back no other.
        tracing::error!(mail_id = %mail.mail_id, error = format!("{error:#}"), "a mail cannot be written");
        let mut connection = app.pool.acquire().await?;
        store::mails::mark_failed(&mut connection, mail.mail_id, true, &format!("{error:#}"), 0).await?;
    }
    Ok(true)
}

async fn deliver(app: &App, mail: &Mail) -> anyhow::Result<()> {
    let stale = mail.challenge_id.is_some() && app.clock.now() >= mail.created_at + CODE_LIFE;
    let named = match named(app, mail).await {
        Ok(named) => named,
        Err(failure) => return try_later(app, mail, &format!("{failure:?}")).await,
    };
    let letter = if stale { None } else { letter(app, &named).await? };
    let Some(letter) = letter else {
        store::mails::mark_done(&mut *app.pool.acquire().await?, mail.mail_id, "DROPPED").await?;
        return Ok(());
    };
    // Asking took its time: whoever has taken over in the meantime sends it.
    let claim = Claim { pool: &app.pool, schema: app.schema };
    if !claim.take(CLAIM).await? {
        return Ok(());
    }
    let sent = app.mailer.send(&letter).await;
    fault::point("mail.sent");
    let mut connection = app.pool.acquire().await?;
    match sent {
        Ok(()) => store::mails::mark_done(&mut connection, mail.mail_id, "SENT").await?,
        Err(NotSent::Never(error)) => {
            tracing::warn!(mail_id = %mail.mail_id, error, "a mail was refused for good");
            store::mails::mark_failed(&mut connection, mail.mail_id, true, &error, 0).await?;
        }
        Err(NotSent::Later(error)) => {
            drop(connection);
            try_later(app, mail, &error).await?;
        }
    }
    Ok(())
}

async fn try_later(app: &App, mail: &Mail, error: &str) -> anyhow::Result<()> {
    let wait = 2_i32.saturating_pow(mail.attempts.clamp(0, 10).unsigned_abs()).min(BACKOFF_MAX_SECS);
    tracing::warn!(mail_id = %mail.mail_id, error, "a mail was not sent");
    let mut connection = app.pool.acquire().await?;
    store::mails::mark_failed(&mut connection, mail.mail_id, false, error, wait).await?;
    Ok(())
}

/// A mail with what the workspace that it is about is called now, in its language (REGI-9). One that is not there keeps its id.
async fn named(app: &App, mail: &Mail) -> Result<Mail, Failure<Refused>> {
    let mut named = mail.clone();
    if let Some(id) = mail.workspace
        && let Some((name, language)) =
            timeout(ASKING_MAX, app.workspaces.called(id)).await.map_err(|_| {
                Failure::Transient(anyhow::anyhow!("no answer in time").context("workspace-svc"))
            })??
    {
        named.language = language;
        named.parameters.insert(WORKSPACE.to_owned(), name);
    }
    Ok(named)
}

/// The mail as it leaves; None when there is nobody to read it any more.
async fn letter(app: &App, mail: &Mail) -> anyhow::Result<Option<Letter>> {
    let address = match (&mail.address, &mail.account_id) {
        (Some(address), _) => Some(address.clone()),
        (None, Some(account_id)) => address_of(app, account_id.parse()?).await?,
        (None, None) => None,
    };
    let Some(address) = address else { return Ok(None) };
    let mut parameters = mail.parameters.clone();
    if let Some(challenge_id) = mail.challenge_id {
        let code = derive(app.session_secret.expose_secret().as_bytes(), challenge_id);
        parameters.insert("code".to_owned(), code);
    }
    let filled = mail.template.fill(mail.language, &parameters)?;
    Ok(Some(Letter { mail_id: mail.mail_id, to: address, subject: filled.subject, body: filled.body }))
}

async fn address_of(app: &App, user: User) -> sqlx::Result<Option<String>> {
    let mut connection = app.pool.acquire().await?;
    Ok(match user {
        User::Console(id) => store::console_accounts::get(&mut connection, id)
            .await?
            .filter(|account| account.state != AccountState::Closed)
            .map(|account| account.email.key()),
        User::Billing(id) => store::billing_accounts::get(&mut connection, id)
            .await?
            .filter(|account| account.state != AccountState::Closed)
            .and_then(|account| account.email)
            .map(|email| email.key()),
    })
}

/// Removes what is done, and codes and limits that count no more. True when there may be more.
pub async fn prune_mails(app: &App) -> sqlx::Result<bool> {
    const ROWS: i64 = 1_000;
    let before = app.clock.now() - KEPT;
    let mut tx = app.pool.begin().await?;
    let counts = [
        store::mails::delete_before(&mut tx, before, ROWS).await?,
        store::challenges::delete_before(&mut tx, before, ROWS).await?,
        store::code_limits::delete_before(&mut tx, before, ROWS).await?,
    ];
    tx.commit().await?;
    Ok(counts.into_iter().any(|count| count >= ROWS.unsigned_abs()))
}
