//! Closes an account for good (ACC-19, ACC-20, DEC-74). It is CLOSING while the other services are asked, so that nothing comes to it in between; the first
//! that refuses ends it, and it is open again. Closing the wallet is the last thing asked: from then on it can only end CLOSED. An interrupted closing goes
//! on by itself: every step may be repeated.

use std::time::Duration;

use chassis::audit;
use chassis::auth::User;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::{BillingAccountId, ConsoleAccountId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::status::Refused;
use chassis::worker::Claim;
use sqlx::PgConnection;

use super::App;
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::BillingAccount;
use crate::domain::console_account::ConsoleAccount;
use crate::store;

/// Why an account is not closed.
#[derive(Debug)]
pub enum CloseRejection {
    /// No such account.
    NotFound(User),
    /// Another service names a precondition that fails.
    Refused(Box<Refused>),
    /// Sealed days that it pays for have no bill.
    NotBilled,
    /// Bills of its have no settlement.
    NotSettled(i64),
}

/// A claim holds 10 seconds.
const PEER_MAX: Duration = Duration::from_secs(4);

type Outcome2<T> = Result<T, Failure<CloseRejection>>;

/// Closes a console account, once per request.
pub async fn close_console_account(
    app: &App,
    request: &Idempotent<ConsoleAccount>,
    id: ConsoleAccountId,
) -> Outcome2<Outcome<ConsoleAccount>> {
    let user = User::Console(id);
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut tx = app.pool.begin().await?;
    if state_of(&mut tx, user).await? == AccountState::Open {
        store::console_accounts::mark_closing(&mut tx, id).await?;
    }
    tx.commit().await?;
    go_on(app, user).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let account = store::console_accounts::get(&mut tx, id).await?;
    let account = account.ok_or(Failure::Rejected(CloseRejection::NotFound(user)))?;
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// Closes a billing account, once per request.
pub async fn close_billing_account(
    app: &App,
    request: &Idempotent<BillingAccount>,
    id: BillingAccountId,
    ticket: &str,
) -> Outcome2<Outcome<BillingAccount>> {
    let user = User::Billing(id);
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut tx = app.pool.begin().await?;
    if state_of(&mut tx, user).await? == AccountState::Open {
        store::billing_accounts::mark_closing(&mut tx, id, ticket).await?;
    }
    tx.commit().await?;
    go_on(app, user).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let account = store::billing_accounts::get(&mut tx, id).await?;
    let account = account.ok_or(Failure::Rejected(CloseRejection::NotFound(user)))?;
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// The state of an account, locked until the transaction ends.
async fn state_of(connection: &mut PgConnection, user: User) -> Outcome2<AccountState> {
    let state = match user {
        User::Console(id) => {
            store::console_accounts::get_for_update(connection, id).await?.map(|account| account.state)
        }
        User::Billing(id) => {
            store::billing_accounts::get_for_update(connection, id).await?.map(|account| account.state)
        }
    };
    state.ok_or(Failure::Rejected(CloseRejection::NotFound(user)))
}

/// Accounts whose closing began, and that nobody may be working on.
pub async fn interrupted(app: &App, limit: i64) -> sqlx::Result<Vec<User>> {
    let mut connection = app.pool.acquire().await?;
    let consoles = store::console_accounts::list_closing(&mut connection, limit).await?;
    let billings = store::billing_accounts::list_closing(&mut connection, limit).await?;
    Ok(consoles.into_iter().map(User::Console).chain(billings.into_iter().map(User::Billing)).collect())
}

/// Takes a closing that began to its end. Only one process works on an account, and in it only one call on any: whoever takes a refusal back must
/// not undo what another has just passed.
pub async fn go_on(app: &App, user: User) -> Outcome2<()> {
    let _alone = app.closing.lock().await;
    fault::point("close.begun");
    renew(app, user).await?;
    let state = state_of(&mut *app.pool.acquire().await?, user).await?;
    match state {
        AccountState::Closing => {}
        AccountState::Closed => return Ok(()),
        AccountState::Open => {
            return Err(Failure::Transient(anyhow::anyhow!("another call could not close {user}")));
        }
    }
    match ask(app, user).await {
        Ok(()) => {
            fault::point("close.asked");
            renew(app, user).await?;
            finish(app, user).await?;
            fault::point("close.finished");
            Ok(())
        }
        Err(Failure::Rejected(rejection)) => {
            renew(app, user).await?;
            soon(app.workspaces.unretire(user)).await?;
            fault::point("close.unretired");
            renew(app, user).await?;
            reopen(app, user).await?;
            Err(Failure::Rejected(rejection))
        }
        Err(failure) => Err(failure),
    }
}

async fn renew(app: &App, user: User) -> Outcome2<()> {
    let claim = Claim { pool: &app.pool, schema: app.schema };
    if claim.take(&format!("close:{user}")).await? {
        Ok(())
    } else {
        Err(Failure::Transient(anyhow::anyhow!("another process closes {user}")))
    }
}

/// A peer's answer, well within the time for which the claim holds: nothing of ours may take effect when another process has taken over.
async fn soon<T>(call: impl Future<Output = Result<T, Failure<Refused>>>) -> Outcome2<T> {
    match tokio::time::timeout(PEER_MAX, call).await {
        Ok(answer) => {
            answer.map_err(|failure| failure.map(|refused| CloseRejection::Refused(Box::new(refused))))
        }
        Err(_) => {
            Err(Failure::Transient(anyhow::anyhow!("a service did not answer in time").context("closing")))
        }
    }
}

/// Everybody else, in the order in which an answer stays true: nothing is bound from the first on, so that no bill comes after the second.
async fn ask(app: &App, user: User) -> Outcome2<()> {
    let sealed_day_count = soon(app.workspaces.retire(user)).await?;
    fault::point("close.retired");
    let User::Billing(payer) = user else { return Ok(()) };
    renew(app, user).await?;
    let bills = soon(app.bills.count(payer)).await?;
    if bills.daily != sealed_day_count {
        return Err(Failure::Rejected(CloseRejection::NotBilled));
    }
    if bills.unsettled != 0 {
        return Err(Failure::Rejected(CloseRejection::NotSettled(bills.unsettled)));
    }
    renew(app, user).await?;
    soon(app.settlements.close_wallet(payer)).await
}

/// It is closed: what is personal is forgotten, and nobody is signed in.
async fn finish(app: &App, user: User) -> Outcome2<()> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let closed = match user {
        User::Console(id) => store::console_accounts::mark_closed(&mut tx, id, now).await?,
        User::Billing(id) => store::billing_accounts::mark_closed(&mut tx, id, now).await?,
    };
    if closed != 1 {
        return Err(Failure::Transient(anyhow::anyhow!("another call could not close {user}")));
    }
    store::requests::forget_answers(&mut tx, user).await?;
    store::sessions::mark_all_ended(&mut tx, user, "ACCOUNT_CLOSED", app.real_time.now()).await?;
    store::challenges::delete_unused(&mut tx, &user.to_string()).await?;
    audit::note(&mut tx, app.schema, "Close", &[user.to_string()]).await?;
    tx.commit().await?;
    Ok(())
}

async fn reopen(app: &App, user: User) -> sqlx::Result<()> {
    let mut connection = app.pool.acquire().await?;
    match user {
        User::Console(id) => store::console_accounts::mark_open(&mut connection, id).await,
        User::Billing(id) => store::billing_accounts::mark_open(&mut connection, id).await,
    }
}
