//! The first binding: it makes a trial commercial, from the next full hour on (DEC-13, DEC-70).

use chassis::civil::next_full_hour;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use crate::domain::binding::Binding;
use crate::store;

/// Why it is not bound.
#[derive(Debug)]
pub enum BindRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// No such billing account.
    NoBillingAccount(BillingAccountId),
    /// Another binding holds.
    Bound(Binding),
}

/// Binds the workspace, once per request.
pub async fn bind_workspace(
    app: &App,
    request: &Idempotent<Binding>,
    workspace_id: WorkspaceId,
    billing_account_id: BillingAccountId,
) -> Result<Outcome<Binding>, Failure<BindRejection>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let currency = app.billing_accounts.currency(billing_account_id).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    if store::workspaces::get_for_update(&mut tx, workspace_id).await?.is_none() {
        return Err(Failure::Rejected(BindRejection::NoWorkspace(workspace_id)));
    }
    let currency = currency.ok_or(Failure::Rejected(BindRejection::NoBillingAccount(billing_account_id)))?;
    if let Some(bound) = store::bindings::get_open(&mut tx, workspace_id).await? {
        return Err(Failure::Rejected(BindRejection::Bound(bound)));
    }
    let effective_from = next_full_hour(now);
    let binding =
        Binding { workspace_id, billing_account_id, currency, effective_from, effective_until: None };
    store::bindings::insert(&mut tx, &binding, now).await?;
    if store::workspaces::update_commercial_from(&mut tx, workspace_id, effective_from).await? != 1 {
        return Err(chassis::bug!("{workspace_id} was commercial without a binding"));
    }
    request.store(&mut tx, app.schema, &binding).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(binding))
}
