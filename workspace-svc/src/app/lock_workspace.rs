//! Locks and unlocks a workspace (WS-3 to WS-7). The closure that ends the countdown is written with the lock: nothing has to happen on the
//! 14th day for usage to be refused.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId, derived};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use super::change_workspace::{ChangeRejection, finish, load};
use super::create_workspace::Configured;
use crate::domain::binding::current_of;
use crate::domain::closure::Cause;
use crate::domain::lock::{ClosureChange, Lock, LockCause};
use crate::domain::workspace::Workspace;
use crate::peers::accounts::{Notice, mail_to_owner};
use crate::store;

type Changed = Result<Outcome<Configured>, Failure<ChangeRejection>>;

/// Who locks or unlocks what, when.
struct Step<'a> {
    app: &'a App,
    request_id: Uuid,
    now: OffsetDateTime,
}

impl Step<'_> {
    /// Gives a workspace another lock, or none: with its closure, and a mail where the countdown begins or is over. True when something changed.
    async fn change(
        &self,
        connection: &mut PgConnection,
        workspace: &mut Workspace,
        new: Option<Lock>,
    ) -> sqlx::Result<bool> {
        let (id, old) = (workspace.workspace_id, workspace.lock);
        if old == new {
            return Ok(false);
        }
        workspace.lock = new;
        store::workspaces::update_lock(&mut *connection, id, new).await?;
        let ClosureChange { end, begin } = ClosureChange::between(old, new, self.now);
        if let Some(end) = end {
            store::closures::end(&mut *connection, id, Cause::Locked, end).await?;
        }
        if let Some(begin) = begin {
            store::closures::begin(&mut *connection, id, Cause::Locked, begin, self.now).await?;
        }
        let notice = match (old, new) {
            (None, Some(_)) => Notice::Countdown(14),
            (Some(_), None) => Notice::Unlocked,
            (Some(_), Some(_)) | (None, None) => return Ok(true),
        };
        let mail = mail_to_owner(workspace, notice, derived(self.request_id, &id.to_string()));
        outbox::append(connection, self.app.schema, &mail, self.now).await?;
        Ok(true)
    }
}

fn with(
    lock: Option<Lock>,
    cause: LockCause,
    arrears_of: Option<BillingAccountId>,
    now: OffsetDateTime,
) -> Option<Lock> {
    let begins = || Lock::beginning(cause, arrears_of, now);
    Some(lock.map_or_else(begins, |lock| lock.joined(cause, arrears_of, now)))
}

/// Begins the countdown, once per request, if `only_of` pays for it or whoever does. What is locked for the cause stays as it is; what is dissolved is
/// locked when it is restored.
pub async fn lock_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    id: WorkspaceId,
    cause: LockCause,
    only_of: Option<BillingAccountId>,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load(&mut tx, id).await?;
    let step = Step { app, request_id: request.request_id(), now: app.clock.now() };
    let bindings = store::bindings::list_all(&mut tx, id).await?;
    let payer = current_of(&bindings, step.now).map(|binding| binding.billing_account_id);
    // While nobody pays yet, whoever orders it is the one who will.
    if only_of.is_none() || payer.is_none() || only_of == payer {
        let lock = with(workspace.lock, cause, payer, step.now);
        step.change(&mut tx, &mut workspace, lock).await?;
    }
    let done = finish(app, tx, request, workspace).await;
    app.nudge.notify_waiters();
    done
}

/// Lifts a lock, once per request; with a cause, only what that cause has locked. What is not locked stays as it is.
pub async fn unlock_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    id: WorkspaceId,
    cause: Option<LockCause>,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load(&mut tx, id).await?;
    let step = Step { app, request_id: request.request_id(), now: app.clock.now() };
    let lock = workspace.lock.and_then(|lock| lock.lifted(cause, step.now));
    step.change(&mut tx, &mut workspace, lock).await?;
    let done = finish(app, tx, request, workspace).await;
    app.nudge.notify_waiters();
    done
}

/// Several, locked in order of id before anything else is, and answered in the order in which their owners are mailed: so nobody waits for one another.
async fn load_all(
    connection: &mut PgConnection,
    ids: &[WorkspaceId],
) -> Result<Vec<Workspace>, Failure<ChangeRejection>> {
    let mut workspaces = Vec::with_capacity(ids.len());
    for id in ids {
        workspaces.push(load(&mut *connection, *id).await?);
    }
    workspaces.sort_by_key(|workspace| (workspace.owner, workspace.workspace_id));
    Ok(workspaces)
}

/// Locks what a billing account in arrears pays for by itself, once per request (DEC-42). Answers how many.
pub async fn lock_all(
    app: &App,
    request: &Idempotent<i32>,
    payer: BillingAccountId,
    except: &[WorkspaceId],
) -> Result<Outcome<i32>, Failure<ChangeRejection>> {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let step = Step { app, request_id: request.request_id(), now: app.clock.now() };
    let mut count = 0;
    let mut ids = store::workspaces::list_paid_by(&mut tx, payer, step.now).await?;
    ids.retain(|id| !except.contains(id));
    let loaded = load_all(&mut tx, &ids).await?;
    // What has got another payer while this waited for it is not this one's any more.
    let still = store::workspaces::list_paid_by(&mut tx, payer, step.now).await?;
    for mut workspace in loaded.into_iter().filter(|workspace| still.contains(&workspace.workspace_id)) {
        let lock = with(workspace.lock, LockCause::Arrears, Some(payer), step.now);
        count += i32::from(step.change(&mut tx, &mut workspace, lock).await?);
    }
    request.store(&mut tx, app.schema, &count).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(count))
}

/// Lifts what a billing account's arrears have locked, once per request (WS-7). Answers how many.
pub async fn unlock_all(
    app: &App,
    request: &Idempotent<i32>,
    payer: BillingAccountId,
) -> Result<Outcome<i32>, Failure<ChangeRejection>> {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let step = Step { app, request_id: request.request_id(), now: app.clock.now() };
    let mut count = 0;
    let ids = store::workspaces::list_locked_for(&mut tx, payer).await?;
    for mut workspace in load_all(&mut tx, &ids).await? {
        if workspace.lock.is_none_or(|lock| lock.arrears_of != Some(payer)) {
            continue;
        }
        let lock = workspace.lock.and_then(|lock| lock.lifted(Some(LockCause::Arrears), step.now));
        count += i32::from(step.change(&mut tx, &mut workspace, lock).await?);
    }
    request.store(&mut tx, app.schema, &count).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(count))
}

/// Workspaces at a time.
const BATCH: i64 = 100;

/// Mails owners of locked workspaces about the days of the countdown that have come (DEC-39).
pub async fn tell_of_countdowns(app: &App) -> sqlx::Result<()> {
    let now = app.clock.now();
    let ids = store::workspaces::list_locked(&mut *app.pool.acquire().await?, BATCH).await?;
    for id in ids {
        let mut tx = app.pool.begin().await?;
        let Some(workspace) = store::workspaces::get_for_update(&mut tx, id).await? else { continue };
        let Some(mut lock) = workspace.lock else { continue };
        let Some(days) = lock.telling_due(now) else { continue };
        let notice = if days < 14 { Notice::Countdown(lock.days_left(now)) } else { Notice::Locked };
        let micros = lock.locked_at.unix_timestamp_nanos() / 1_000;
        let mail = mail_to_owner(&workspace, notice, derived(id.uuid(), &format!("{micros} {days}")));
        outbox::append(&mut tx, app.schema, &mail, now).await?;
        lock.told_days = days;
        store::workspaces::update_lock(&mut tx, id, Some(lock)).await?;
        tx.commit().await?;
        app.nudge.notify_waiters();
    }
    Ok(())
}
