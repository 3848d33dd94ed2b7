//! A trial workspace, with the default retention of every data type.

use chassis::auth::User;
use chassis::civil::full_hour;
use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::site::Site;
use time::OffsetDateTime;

use super::App;
use crate::domain::closure::Closure;
use crate::domain::retention::{DataType, RetentionPolicy};
use crate::domain::workspace::{Language, Workspace};
use crate::store;

/// A workspace and how long it keeps data.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The workspace.
    pub workspace: Workspace,
    /// Its policies, past and to come.
    pub policies: Vec<RetentionPolicy>,
    /// When it takes no usage.
    pub closures: Vec<Closure>,
    /// The moment that it is read at.
    pub now: OffsetDateTime,
}

/// Its owner is closed, or being closed.
#[derive(Debug)]
pub struct OwnerClosed(pub ConsoleAccountId);

/// What a workspace is to be.
#[derive(Debug, Clone)]
pub struct NewWorkspace {
    /// Whose.
    pub owner: ConsoleAccountId,
    /// Its name.
    pub name: String,
    /// Where.
    pub site: Site,
    /// Of the mails about it.
    pub language: Language,
}

/// Makes the workspace, once per request.
pub async fn create_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    wanted: NewWorkspace,
) -> Result<Outcome<Configured>, Failure<OwnerClosed>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    if store::retired_accounts::hold_and_check(&mut tx, User::Console(wanted.owner)).await? {
        return Err(Failure::Rejected(OwnerClosed(wanted.owner)));
    }
    let workspace = Workspace {
        workspace_id: WorkspaceId::new(now),
        owner: wanted.owner,
        name: wanted.name,
        site: wanted.site,
        language: wanted.language,
        commercial_from: None,
        lock: None,
        dissolved_at: None,
        created_at: now,
    };
    store::workspaces::insert(&mut tx, &workspace).await?;
    let mut policies = Vec::new();
    for data_type in DataType::ALL {
        let days = data_type.default_days();
        let effective_from = full_hour(now);
        let policy =
            RetentionPolicy { data_type, dimension: String::new(), days, effective_from, changed_at: None };
        store::retention_policies::upsert(&mut tx, workspace.workspace_id, &policy).await?;
        policies.push(policy);
    }
    let configured = Configured { workspace, policies, closures: Vec::new(), now };
    request.store(&mut tx, app.schema, &configured).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(configured))
}
