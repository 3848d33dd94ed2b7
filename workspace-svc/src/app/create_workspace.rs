//! A trial workspace, with the default retention of every data type.

use chassis::civil::full_hour;
use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::site::Site;
use chassis::status::Refusal;

use super::App;
use crate::domain::retention::{DataType, RetentionPolicy};
use crate::domain::workspace::Workspace;
use crate::store;

/// A workspace and how long it keeps data.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The workspace.
    pub workspace: Workspace,
    /// Its policies, past and to come.
    pub policies: Vec<RetentionPolicy>,
}

/// Makes the workspace, once per request.
pub async fn create_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    owner: ConsoleAccountId,
    name: String,
    site: Site,
) -> Result<Outcome<Configured>, Failure<Refusal>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let workspace = Workspace {
        workspace_id: WorkspaceId::new(now),
        owner,
        name,
        site,
        commercial_from: None,
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
    let configured = Configured { workspace, policies };
    request.store(&mut tx, app.schema, &configured).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(configured))
}
