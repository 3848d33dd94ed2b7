//! Who works in a workspace besides its owner (RO-1).

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};
use sqlx::PgConnection;

use super::App;
use crate::domain::member::{Member, Role, Verdict};
use crate::domain::workspace::Workspace;
use crate::store;

/// Why members stay as they are.
#[derive(Debug)]
pub enum MemberRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// It is dissolved.
    Dissolved(WorkspaceId),
    /// No open account of this id on the workspace's site.
    NoAccount(ConsoleAccountId),
    /// It has no such member.
    NoMember(ConsoleAccountId),
    /// It is one already, or the owner.
    Exists(WorkspaceId, ConsoleAccountId),
    /// No raise waits.
    NothingToReview(ConsoleAccountId),
}

type Changed = Result<Outcome<Member>, Failure<MemberRejection>>;

async fn load(connection: &mut PgConnection, id: WorkspaceId) -> Result<Workspace, Failure<MemberRejection>> {
    let workspace = store::workspaces::get_for_update(connection, id).await?;
    let workspace = workspace.ok_or(Failure::Rejected(MemberRejection::NoWorkspace(id)))?;
    match workspace.dissolved_at {
        Some(_) => Err(Failure::Rejected(MemberRejection::Dissolved(id))),
        None => Ok(workspace),
    }
}

async fn member(
    connection: &mut PgConnection,
    id: WorkspaceId,
    account: ConsoleAccountId,
) -> Result<Member, Failure<MemberRejection>> {
    let member = store::members::get(connection, id, account).await?;
    member.ok_or(Failure::Rejected(MemberRejection::NoMember(account)))
}

/// Adds one, once per request.
pub async fn add_member(
    app: &App,
    request: &Idempotent<Member>,
    id: WorkspaceId,
    account: ConsoleAccountId,
    role: Role,
) -> Changed {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let site = app.accounts.site_of(account).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let workspace = load(&mut tx, id).await?;
    let is_closed = store::retired_accounts::hold_and_check(&mut tx, User::Console(account)).await?;
    if is_closed || site != Some(workspace.site) {
        return Err(Failure::Rejected(MemberRejection::NoAccount(account)));
    }
    let is_commercial = workspace.commercial_from.is_some();
    let member = Member {
        workspace_id: id,
        console_account_id: account,
        role: Role::ReadOnly,
        review_pending: false,
        created_at: now,
    }
    .with_role(role, is_commercial);
    if workspace.owner == account || !store::members::insert(&mut tx, &member).await? {
        return Err(Failure::Rejected(MemberRejection::Exists(id, account)));
    }
    request.store(&mut tx, app.schema, &member).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(member))
}

/// Gives one another role, once per request; a raise may wait for review (PLAN-17).
pub async fn set_role(
    app: &App,
    request: &Idempotent<Member>,
    id: WorkspaceId,
    account: ConsoleAccountId,
    role: Role,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let workspace = load(&mut tx, id).await?;
    let member = member(&mut tx, id, account).await?.with_role(role, workspace.commercial_from.is_some());
    store::members::update(&mut tx, &member).await?;
    request.store(&mut tx, app.schema, &member).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(member))
}

/// Says yes or no to a raise, once per request.
pub async fn review_member(
    app: &App,
    request: &Idempotent<Member>,
    id: WorkspaceId,
    account: ConsoleAccountId,
    verdict: Verdict,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    load(&mut tx, id).await?;
    let member = member(&mut tx, id, account).await?.reviewed(verdict);
    let member = member.ok_or(Failure::Rejected(MemberRejection::NothingToReview(account)))?;
    store::members::update(&mut tx, &member).await?;
    request.store(&mut tx, app.schema, &member).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(member))
}

/// Removes one, once per request; also from a workspace that is dissolved.
pub async fn remove_member(
    app: &App,
    request: &Idempotent<Member>,
    id: WorkspaceId,
    account: ConsoleAccountId,
) -> Changed {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let gone = member(&mut tx, id, account).await?;
    store::members::delete(&mut tx, id, account).await?;
    request.store(&mut tx, app.schema, &gone).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(gone))
}

/// A workspace's members; None when there is no such workspace.
pub async fn members(
    app: &App,
    id: WorkspaceId,
    after: Option<ConsoleAccountId>,
    limit: i64,
) -> sqlx::Result<Option<Vec<Member>>> {
    let mut connection = app.pool.acquire().await?;
    if store::workspaces::get(&mut connection, id).await?.is_none() {
        return Ok(None);
    }
    store::members::list(&mut connection, id, after, limit).await.map(Some)
}
