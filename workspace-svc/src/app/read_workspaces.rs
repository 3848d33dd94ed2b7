//! Reads of workspaces and bindings.

use chassis::id::WorkspaceId;
use sqlx::Result;
use time::OffsetDateTime;

use super::App;
use super::create_workspace::Configured;
use crate::domain::binding::Binding;
use crate::store;

/// One workspace with its policies.
pub async fn workspace(app: &App, id: WorkspaceId) -> Result<Option<Configured>> {
    let mut connection = app.pool.acquire().await?;
    let Some(workspace) = store::workspaces::get(&mut connection, id).await? else { return Ok(None) };
    let policies = store::retention_policies::list(&mut connection, id).await?;
    Ok(Some(Configured { workspace, policies }))
}

/// Workspaces with their policies, in order of creation.
pub async fn workspaces(app: &App, after: Option<WorkspaceId>, limit: i64) -> Result<Vec<Configured>> {
    let mut connection = app.pool.acquire().await?;
    let workspaces = store::workspaces::list(&mut connection, after, limit).await?;
    let ids: Vec<_> = workspaces.iter().map(|workspace| workspace.workspace_id.uuid()).collect();
    let mut policies = store::retention_policies::list_of_many(&mut connection, &ids).await?;
    let configured = workspaces.into_iter().map(|workspace| {
        let id = workspace.workspace_id;
        let own = policies.extract_if(.., |(of, _)| *of == id).map(|(_, policy)| policy).collect();
        Configured { workspace, policies: own }
    });
    Ok(configured.collect())
}

/// The binding that holds, or the first that will.
pub async fn binding(app: &App, id: WorkspaceId) -> Result<Option<Binding>> {
    store::bindings::get_open(&mut *app.pool.acquire().await?, id).await
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

/// The clock's time, for what "now" means to a reader.
pub fn now(app: &App) -> OffsetDateTime {
    app.clock.now()
}
