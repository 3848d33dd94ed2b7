//! Binds a workspace that has no payer: a trial becomes commercial at the next full hour (DEC-13, DEC-70), one that was unbound takes usage
//! again from then on.

use chassis::auth::User;
use chassis::civil::next_full_hour;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::money::Money;
use chassis::status::Refused;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use super::create_workspace::Configured;
use crate::domain::binding::{Binding, current_of, pending_change};
use crate::domain::closure::Cause;
use crate::domain::workspace::Workspace;
use crate::peers::accounts::{Payer, Proof};
use crate::store;

/// Why a binding is not made or changed.
#[derive(Debug)]
pub enum BindRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// No such billing account.
    NoBillingAccount(BillingAccountId),
    /// Its code proves nothing.
    Code(Box<Refused>),
    /// Another binding holds, or this very one.
    Bound(Binding),
    /// Nothing holds.
    NotBound(WorkspaceId),
    /// It is commercial already.
    NotATrial(WorkspaceId),
    /// A change waits already.
    Pending(WorkspaceId, OffsetDateTime),
    /// It is dissolved.
    Dissolved(WorkspaceId),
    /// The account is closed, or being closed.
    Closed(User),
    /// The two payers are not one enterprise (SM-9).
    EnterpriseDiffers,
    /// The new payer has another currency (DEC-53).
    Currency {
        /// The present payer's.
        required: &'static str,
        /// The new one's.
        given: &'static str,
    },
    /// The present payer owes money (DEC-22).
    Arrears(Money),
    /// An active subscription of the present payer's settles it (SM-4).
    SubscriptionActive(String),
}

/// Who is to pay, and how it agreed.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// Who.
    pub billing_account_id: BillingAccountId,
    /// The owner that acts, with the payer's code. None: a service or an operator acts, who needs none.
    pub by: Option<(User, Proof)>,
}

type Outcome2<T> = Result<T, Failure<BindRejection>>;

/// Asks account-svc whether the payer is there and agrees; the code is used up by this request.
pub async fn ask_payer<T: 'static>(
    app: &App,
    request: &Idempotent<T>,
    workspace_id: WorkspaceId,
    agreement: &Agreement,
) -> Outcome2<Payer> {
    let id = agreement.billing_account_id;
    if let Some((user, proof)) = agreement.by.clone() {
        let redeemed = app.accounts.redeem(request.effect_id(), id, workspace_id, user, proof).await;
        redeemed.map_err(|failure| failure.map(|refused| BindRejection::Code(Box::new(refused))))?;
    }
    let payer = app.accounts.payer(id).await?;
    let payer = payer.ok_or(Failure::Rejected(BindRejection::NoBillingAccount(id)))?;
    if payer.open { Ok(payer) } else { Err(Failure::Rejected(BindRejection::Closed(User::Billing(id)))) }
}

/// Whether an account may pay after another: both must be verified as the same enterprise (SM-9, DEC-72), and for an owner of one currency (DEC-53).
pub async fn may_follow(app: &App, last: &Binding, new: &Payer, agreement: &Agreement) -> Outcome2<()> {
    let old = app.accounts.payer(last.billing_account_id).await?;
    let old = old.ok_or_else(|| {
        Failure::fatal(format!("{} was bound to an account that is not there", last.workspace_id))
    })?;
    if old.taxpayer_number.is_none() || old.taxpayer_number != new.taxpayer_number {
        return Err(Failure::Rejected(BindRejection::EnterpriseDiffers));
    }
    if agreement.by.is_some() && new.currency != last.currency {
        let (required, given) = (last.currency.code(), new.currency.code());
        return Err(Failure::Rejected(BindRejection::Currency { required, given }));
    }
    Ok(())
}

/// The workspace, locked and not dissolved, with its bindings.
pub async fn bindable(connection: &mut PgConnection, id: WorkspaceId) -> Outcome2<(Workspace, Vec<Binding>)> {
    let workspace = store::workspaces::get_for_update(&mut *connection, id).await?;
    let workspace = workspace.ok_or(Failure::Rejected(BindRejection::NoWorkspace(id)))?;
    if workspace.dissolved_at.is_some() {
        return Err(Failure::Rejected(BindRejection::Dissolved(id)));
    }
    Ok((workspace, store::bindings::list_all(connection, id).await?))
}

async fn bind(
    app: &App,
    connection: &mut PgConnection,
    (workspace, bindings): (&mut Workspace, &[Binding]),
    (billing_account_id, payer): (BillingAccountId, &Payer),
) -> Outcome2<Binding> {
    let now = app.clock.now();
    let workspace_id = workspace.workspace_id;
    if let Some(bound) = current_of(bindings, now) {
        let pending = pending_change(bindings, now).filter(|_| bound.effective_until.is_some());
        return Err(Failure::Rejected(match pending {
            Some(at) => BindRejection::Pending(workspace_id, at),
            None => BindRejection::Bound(bound.clone()),
        }));
    }
    let user = User::Billing(billing_account_id);
    if store::retired_accounts::hold_and_check(&mut *connection, user).await? {
        return Err(Failure::Rejected(BindRejection::Closed(user)));
    }
    let effective_from = next_full_hour(now);
    let currency = payer.currency;
    let binding =
        Binding { workspace_id, billing_account_id, currency, effective_from, effective_until: None };
    store::bindings::insert(&mut *connection, &binding, now).await?;
    store::closures::end(&mut *connection, workspace_id, Cause::Unbound, effective_from).await?;
    if workspace.commercial_from.is_none() {
        store::workspaces::update_commercial_from(connection, workspace_id, effective_from).await?;
        workspace.commercial_from = Some(effective_from);
    }
    Ok(binding)
}

/// Binds the workspace, once per request.
pub async fn bind_workspace(
    app: &App,
    request: &Idempotent<Binding>,
    workspace_id: WorkspaceId,
    agreement: Agreement,
) -> Outcome2<Outcome<Binding>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let payer = ask_payer(app, request, workspace_id, &agreement).await?;
    // Unbinding and binding again is no way around what rebinding asks for.
    let earlier = store::bindings::list_all(&mut *app.pool.acquire().await?, workspace_id).await?;
    let last = earlier.into_iter().max_by_key(|binding| binding.effective_from);
    let last = last.filter(|last| last.billing_account_id != agreement.billing_account_id);
    if let Some(last) = last.filter(|last| agreement.by.is_some() && last.effective_until.is_some()) {
        may_follow(app, &last, &payer, &agreement).await?;
    }
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let (mut workspace, bindings) = bindable(&mut tx, workspace_id).await?;
    let payer = (agreement.billing_account_id, &payer);
    let binding = bind(app, &mut tx, (&mut workspace, &bindings), payer).await?;
    request.store(&mut tx, app.schema, &binding).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(binding))
}

/// Binds a trial, once per request; what is commercial is refused (PLAN-8).
pub async fn upgrade_workspace(
    app: &App,
    request: &Idempotent<Configured>,
    workspace_id: WorkspaceId,
    agreement: Agreement,
) -> Outcome2<Outcome<Configured>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let payer = ask_payer(app, request, workspace_id, &agreement).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let (mut workspace, bindings) = bindable(&mut tx, workspace_id).await?;
    if workspace.commercial_from.is_some() {
        return Err(Failure::Rejected(BindRejection::NotATrial(workspace_id)));
    }
    let payer = (agreement.billing_account_id, &payer);
    bind(app, &mut tx, (&mut workspace, &bindings), payer).await?;
    let configured = super::read_workspaces::configured(app, &mut tx, workspace).await?;
    request.store(&mut tx, app.schema, &configured).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(configured))
}
