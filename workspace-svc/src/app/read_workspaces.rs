//! Reads of workspaces and bindings.

use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use sqlx::{PgConnection, Result};
use time::OffsetDateTime;

use super::App;
use super::create_workspace::Configured;
use crate::domain::binding::{Binding, current_of};
use crate::domain::workspace::Workspace;
use crate::store;
use crate::store::workspaces::Filter;

/// A workspace with its policies and closures, as they stand in this transaction.
pub async fn configured(
    app: &App,
    connection: &mut PgConnection,
    workspace: Workspace,
) -> Result<Configured> {
    let id = workspace.workspace_id;
    let policies = store::retention_policies::list(&mut *connection, id).await?;
    let closures = store::closures::list_of_many(connection, &[id.uuid()]).await?;
    let closures = closures.into_iter().map(|(_, closure)| closure).collect();
    Ok(Configured { workspace, policies, closures, now: app.clock.now() })
}

/// One workspace with its policies and closures.
pub async fn workspace(app: &App, id: WorkspaceId) -> Result<Option<Configured>> {
    let mut connection = app.pool.acquire().await?;
    let Some(workspace) = store::workspaces::get(&mut connection, id).await? else { return Ok(None) };
    configured(app, &mut connection, workspace).await.map(Some)
}

/// Workspaces with their policies and closures, in order of creation.
pub async fn workspaces(
    app: &App,
    owner: Option<ConsoleAccountId>,
    payer: Option<BillingAccountId>,
    after: Option<WorkspaceId>,
    limit: i64,
) -> Result<Vec<Configured>> {
    let now = app.clock.now();
    let filter = Filter { owner, payer: payer.map(|payer| (payer, now)) };
    let mut connection = app.pool.acquire().await?;
    let workspaces = store::workspaces::list(&mut connection, filter, after, limit).await?;
    let ids: Vec<_> = workspaces.iter().map(|workspace| workspace.workspace_id.uuid()).collect();
    let mut policies = store::retention_policies::list_of_many(&mut connection, &ids).await?;
    let mut closures = store::closures::list_of_many(&mut connection, &ids).await?;
    let configured = workspaces.into_iter().map(|workspace| {
        let id = workspace.workspace_id;
        let policies = policies.extract_if(.., |(of, _)| *of == id).map(|(_, policy)| policy).collect();
        let closures = closures.extract_if(.., |(of, _)| *of == id).map(|(_, closure)| closure).collect();
        Configured { workspace, policies, closures, now }
    });
    Ok(configured.collect())
}

/// The binding that holds, or the first that will.
pub async fn binding(app: &App, id: WorkspaceId) -> Result<Option<Binding>> {
    let bindings = store::bindings::list_all(&mut *app.pool.acquire().await?, id).await?;
    Ok(current_of(&bindings, app.clock.now()).cloned())
}

/// A workspace's bindings, oldest first; None when there is no such workspace.
pub async fn bindings(
    app: &App,
    id: WorkspaceId,
    after: Option<OffsetDateTime>,
    limit: i64,
) -> Result<Option<Vec<Binding>>> {
    let mut connection = app.pool.acquire().await?;
    if store::workspaces::get(&mut connection, id).await?.is_none() {
        return Ok(None);
    }
    store::bindings::list(&mut connection, id, after, limit).await.map(Some)
}
