//! What an owner does to its workspace: name and language, handing it over, dissolving and restoring it.

use chassis::auth::User;
use chassis::civil::{UsageDate, next_full_hour};
use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use super::create_workspace::Configured;
use super::read_workspaces::configured;
use crate::domain::binding::Binding;
use crate::domain::closure::Cause;
use crate::domain::member::{Member, Role};
use crate::domain::workspace::{Language, STAGING, State, Workspace};
use crate::store;

/// Why a workspace is not changed.
#[derive(Debug)]
pub enum ChangeRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// It is dissolved.
    Dissolved(WorkspaceId),
    /// It is not dissolved, or too long ago.
    NotRestorable(WorkspaceId),
    /// It has no such member.
    NoMember(ConsoleAccountId),
    /// The account is closed, or being closed.
    Closed(User),
}

type Changed = Result<Outcome<Configured>, Failure<ChangeRejection>>;

/// The workspace, locked.
pub async fn load(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> Result<Workspace, Failure<ChangeRejection>> {
    let workspace = store::workspaces::get_for_update(connection, id).await?;
    workspace.ok_or(Failure::Rejected(ChangeRejection::NoWorkspace(id)))
}

async fn load_undissolved(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> Result<Workspace, Failure<ChangeRejection>> {
    let workspace = load(connection, id).await?;
    if workspace.dissolved_at.is_some() {
        return Err(Failure::Rejected(ChangeRejection::Dissolved(id)));
    }
    Ok(workspace)
}

/// Stores the answer and commits.
pub async fn finish(
    app: &App,
    mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    request: &Idempotent<Configured>,
    workspace: Workspace,
) -> Changed {
    let configured = configured(app, &mut tx, workspace).await?;
    request.store(&mut tx, app.schema, &configured).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(configured))
}

/// Changes name and language, once per request; None leaves what is.
pub async fn describe_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    id: WorkspaceId,
    name: Option<String>,
    language: Option<Language>,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load_undissolved(&mut tx, id).await?;
    workspace.name = name.unwrap_or(workspace.name);
    workspace.language = language.unwrap_or(workspace.language);
    store::workspaces::update_description(&mut tx, &workspace).await?;
    finish(app, tx, request, workspace).await
}

/// Hands it over to a member, once per request; the owner becomes an administrator (WS-10).
pub async fn transfer_ownership(
    app: &App,
    request: &Idempotent<Configured>,
    id: WorkspaceId,
    new_owner: ConsoleAccountId,
) -> Changed {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load_undissolved(&mut tx, id).await?;
    // Before its membership, in the order of closing.
    let user = User::Console(new_owner);
    let is_closed = store::retired_accounts::hold_and_check(&mut tx, user).await?;
    if store::members::delete(&mut tx, id, new_owner).await? != 1 {
        return Err(Failure::Rejected(ChangeRejection::NoMember(new_owner)));
    }
    if is_closed {
        return Err(Failure::Rejected(ChangeRejection::Closed(user)));
    }
    let former = Member {
        workspace_id: id,
        console_account_id: workspace.owner,
        role: Role::Administrator,
        review_pending: false,
        created_at: now,
    };
    if !store::members::insert(&mut tx, &former).await? {
        return Err(chassis::bug!("the owner of {id} was one of its members"));
    }
    workspace.owner = new_owner;
    store::workspaces::update_description(&mut tx, &workspace).await?;
    finish(app, tx, request, workspace).await
}

/// Dissolves it, once per request: usage from now on is refused, and nobody pays after this day (WS-9, DEC-45).
pub async fn dissolve_workspace(app: &App, request: &Idempotent<Configured>, id: WorkspaceId) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load_undissolved(&mut tx, id).await?;
    let now = app.clock.now();
    end_bindings(&mut tx, &mut workspace, now).await?;
    store::closures::begin(&mut tx, id, Cause::Dissolved, now, now).await?;
    workspace.dissolved_at = Some(now);
    store::workspaces::update_dissolved_at(&mut tx, id, workspace.dissolved_at).await?;
    finish(app, tx, request, workspace).await
}

/// Nobody pays after this day. A payer that was to come from tomorrow on does not come: who was unbound or a trial until then stays so.
async fn end_bindings(
    connection: &mut PgConnection,
    workspace: &mut Workspace,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let id = workspace.workspace_id;
    let day_end = UsageDate::of(now).end();
    if store::bindings::delete_from(&mut *connection, id, day_end).await? > 0 {
        store::closures::reopen(&mut *connection, id, Cause::Unbound, now).await?;
    }
    if workspace.commercial_from.is_some_and(|from| from >= day_end) {
        workspace.commercial_from = None;
        store::workspaces::clear_commercial_from(&mut *connection, id).await?;
    }
    for mut binding in store::bindings::list_all(&mut *connection, id).await? {
        if binding.effective_until.is_none() {
            binding.effective_until = Some(day_end);
            store::bindings::update_effective_until(&mut *connection, &binding).await?;
        }
    }
    Ok(())
}

/// Restores it within its staging, once per request: usage is taken from the next full hour, and who paid last pays again.
pub async fn restore_workspace(app: &App, request: &Idempotent<Configured>, id: WorkspaceId) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut workspace = load(&mut tx, id).await?;
    let now = app.clock.now();
    if workspace.state(&[], now) != State::Dissolving {
        return Err(Failure::Rejected(ChangeRejection::NotRestorable(id)));
    }
    store::closures::end(&mut tx, id, Cause::Dissolved, next_full_hour(now)).await?;
    pay_again(&mut tx, &workspace, now).await?;
    workspace.dissolved_at = None;
    store::workspaces::update_dissolved_at(&mut tx, id, None).await?;
    finish(app, tx, request, workspace).await
}

/// Binds the last payer again, unless the workspace had been unbound before it was dissolved, or was a trial.
async fn pay_again(
    connection: &mut PgConnection,
    workspace: &Workspace,
    now: OffsetDateTime,
) -> Result<(), Failure<ChangeRejection>> {
    let id = workspace.workspace_id;
    let bindings = store::bindings::list_all(&mut *connection, id).await?;
    let last = bindings.into_iter().max_by_key(|binding| binding.effective_from);
    let Some(last) = last.filter(|_| workspace.commercial_from.is_some()) else { return Ok(()) };
    let closures = store::closures::list_of_many(&mut *connection, &[id.uuid()]).await?;
    let unbound =
        closures.iter().any(|(_, closure)| closure.cause == Cause::Unbound && closure.until.is_none());
    if unbound {
        return Ok(());
    }
    let user = User::Billing(last.billing_account_id);
    if store::retired_accounts::hold_and_check(&mut *connection, user).await? {
        return Err(Failure::Rejected(ChangeRejection::Closed(user)));
    }
    if last.effective_until.is_some_and(|until| until > now) {
        let reopened = Binding { effective_until: None, ..last };
        store::bindings::update_effective_until(connection, &reopened).await?;
    } else {
        let again = Binding { effective_from: next_full_hour(now), effective_until: None, ..last };
        store::bindings::insert(connection, &again, now).await?;
    }
    Ok(())
}

/// How long a workspace that was dissolved can be restored.
pub fn gone_before(app: &App) -> OffsetDateTime {
    app.clock.now() - STAGING
}
