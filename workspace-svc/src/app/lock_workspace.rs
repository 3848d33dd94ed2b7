//! Locks and unlocks a workspace (WS-3 to WS-7). The closure that ends the countdown is written with the lock: nothing has to happen on the
//! 14th day for usage to be refused.

use chassis::civil::next_full_hour;
use chassis::failure::Failure;
use chassis::id::{WorkspaceId, derived};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::outbox;

use super::App;
use super::change_workspace::{ChangeRejection, finish, load};
use super::create_workspace::Configured;
use crate::domain::closure::Cause;
use crate::domain::workspace::{Lock, LockCause};
use crate::peers::accounts::{Notice, mail_to_owner};
use crate::store;

type Changed = Result<Outcome<Configured>, Failure<ChangeRejection>>;

/// Begins the countdown, once per request. What is locked stays as it is; what is dissolved is locked when it is restored.
pub async fn lock_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    id: WorkspaceId,
    cause: LockCause,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load(&mut tx, id).await?;
    let now = app.clock.now();
    if workspace.lock.is_none() {
        let lock = Lock::beginning(cause, now);
        workspace.lock = Some(lock);
        store::workspaces::update_lock(&mut tx, id, Some(lock)).await?;
        store::closures::begin(&mut tx, id, Cause::Locked, lock.final_from, now).await?;
        let mail = mail_to_owner(&workspace, Notice::Countdown(14), derived(request.request_id(), "lock"));
        outbox::append(&mut tx, app.schema, &mail, now).await?;
    }
    let done = finish(app, tx, request, workspace).await;
    app.nudge.notify_waiters();
    done
}

/// Lifts a lock, once per request; with a cause, only a lock of that cause. What is not locked stays as it is.
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
    let now = app.clock.now();
    if let Some(lock) = workspace.lock.filter(|lock| cause.is_none_or(|cause| cause == lock.cause)) {
        let from = if now < lock.final_from { now } else { next_full_hour(now) };
        store::closures::end(&mut tx, id, Cause::Locked, from).await?;
        workspace.lock = None;
        store::workspaces::update_lock(&mut tx, id, None).await?;
        let mail = mail_to_owner(&workspace, Notice::Unlocked, derived(request.request_id(), "unlock"));
        outbox::append(&mut tx, app.schema, &mail, now).await?;
    }
    let done = finish(app, tx, request, workspace).await;
    app.nudge.notify_waiters();
    done
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
        let notice = if days < 14 { Notice::Countdown(14 - days) } else { Notice::Locked };
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
