//! A change of retention (WS-13): the first of a billing day holds from the next full hour, a later one from the next 00:00.

use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use crate::domain::retention::{DataType, RetentionPolicy, change_effective_from};
use crate::store;

/// Why it is not changed.
#[derive(Debug)]
pub enum RetentionRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// It is a trial (PLAN-4).
    Trial(WorkspaceId),
    /// So many days are not offered.
    NotOffered(DataType, i32),
}

/// Changes it, once per request.
pub async fn change_retention(
    app: &App,
    request: &Idempotent<RetentionPolicy>,
    workspace_id: WorkspaceId,
    data_type: DataType,
    dimension: String,
    days: i32,
) -> Result<Outcome<RetentionPolicy>, Failure<RetentionRejection>> {
    if !data_type.offered_days().contains(&days) {
        return Err(Failure::Rejected(RetentionRejection::NotOffered(data_type, days)));
    }
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let workspace = store::workspaces::get_for_update(&mut tx, workspace_id).await?;
    let workspace = workspace.ok_or(Failure::Rejected(RetentionRejection::NoWorkspace(workspace_id)))?;
    if workspace.commercial_from.is_none() {
        return Err(Failure::Rejected(RetentionRejection::Trial(workspace_id)));
    }
    let mut earlier = store::retention_policies::list(&mut tx, workspace_id).await?;
    earlier.retain(|policy| policy.data_type == data_type && policy.dimension == dimension);
    let effective_from = change_effective_from(now, &earlier);
    let policy = RetentionPolicy { data_type, dimension, days, effective_from, changed_at: Some(now) };
    store::retention_policies::upsert(&mut tx, workspace_id, &policy).await?;
    request.store(&mut tx, app.schema, &policy).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(policy))
}
