//! Changes who pays, from the next 00:00 on: so the payer of a day is never in doubt (DEC-22, DEC-49). One change at a time.

use chassis::auth::User;
use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use super::bind_workspace::{Agreement, BindRejection, ask_payer, bindable, may_follow};
use crate::domain::binding::{Binding, current_of, pending_change};
use crate::domain::closure::Cause;
use crate::domain::workspace::Workspace;
use crate::store;

type Outcome2<T> = Result<T, Failure<BindRejection>>;

/// The binding that a change is of, when nothing else waits.
fn changeable(id: WorkspaceId, bindings: &[Binding], now: time::OffsetDateTime) -> Outcome2<Binding> {
    let Some(current) = current_of(bindings, now) else {
        return Err(Failure::Rejected(BindRejection::NotBound(id)));
    };
    match pending_change(bindings, now) {
        Some(at) => Err(Failure::Rejected(BindRejection::Pending(id, at))),
        None => Ok(current.clone()),
    }
}

/// A payer that owes is not left, nor is an active subscription of its (DEC-22, SM-4).
async fn may_leave(app: &App, binding: &Binding) -> Outcome2<()> {
    if let Some(subscription) = app.wallets.active_subscription(binding.workspace_id).await? {
        return Err(Failure::Rejected(BindRejection::SubscriptionActive(subscription)));
    }
    match app.wallets.arrears(binding.billing_account_id).await? {
        Some(arrears) => Err(Failure::Rejected(BindRejection::Arrears(arrears))),
        None => Ok(()),
    }
}

/// Has another account pay from the next 00:00 on, once per request (SM-9).
pub async fn rebind_workspace(
    app: &App,
    request: &Idempotent<Binding>,
    id: WorkspaceId,
    agreement: Agreement,
) -> Outcome2<Outcome<Binding>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let new = ask_payer(app, request, id, &agreement).await?;
    let (_, bindings) = bindable(&mut *app.pool.acquire().await?, id).await?;
    let present = changeable(id, &bindings, app.clock.now())?;
    if present.billing_account_id == agreement.billing_account_id {
        return Err(Failure::Rejected(BindRejection::Bound(present)));
    }
    may_follow(app, &present, &new, &agreement).await?;
    may_leave(app, &present).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let (workspace, bindings) = bindable(&mut tx, id).await?;
    let now = app.clock.now();
    let mut current = changeable(id, &bindings, now)?;
    owes_nothing(&workspace, &current)?;
    if current != present {
        return Err(Failure::Transient(
            anyhow::anyhow!("another call has changed the binding").context("binding"),
        ));
    }
    let user = User::Billing(agreement.billing_account_id);
    if store::retired_accounts::hold_and_check(&mut tx, user).await? {
        return Err(Failure::Rejected(BindRejection::Closed(user)));
    }
    let from = UsageDate::of(now).end();
    current.effective_until = Some(from);
    store::bindings::update_effective_until(&mut tx, &current).await?;
    let binding = Binding {
        workspace_id: id,
        billing_account_id: agreement.billing_account_id,
        currency: new.currency,
        effective_from: from,
        effective_until: None,
    };
    store::bindings::insert(&mut tx, &binding, now).await?;
    request.store(&mut tx, app.schema, &binding).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(binding))
}

/// A bill may have left the payer in arrears since it was asked: the lock that they brought says so.
fn owes_nothing(workspace: &Workspace, present: &Binding) -> Outcome2<()> {
    if workspace.lock.is_some_and(|lock| lock.arrears_of == Some(present.billing_account_id)) {
        let problem = anyhow::anyhow!("its payer has come to owe in this moment");
        return Err(Failure::Transient(problem.context("arrears")));
    }
    Ok(())
}

/// Has nobody pay from the next 00:00 on, once per request: from then on the workspace takes no usage.
pub async fn unbind_workspace(
    app: &App,
    request: &Idempotent<Binding>,
    id: WorkspaceId,
) -> Outcome2<Outcome<Binding>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let (_, bindings) = bindable(&mut *app.pool.acquire().await?, id).await?;
    may_leave(app, &changeable(id, &bindings, app.clock.now())?).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let (workspace, bindings) = bindable(&mut tx, id).await?;
    let now = app.clock.now();
    let mut binding = changeable(id, &bindings, now)?;
    owes_nothing(&workspace, &binding)?;
    let until = UsageDate::of(now).end();
    binding.effective_until = Some(until);
    store::bindings::update_effective_until(&mut tx, &binding).await?;
    store::closures::begin(&mut tx, id, Cause::Unbound, until, now).await?;
    request.store(&mut tx, app.schema, &binding).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(binding))
}
