//! Changes how a workspace is settled: the facts are gathered, one pure function judges them (SM-8), and the method holds from this moment on, so from the
//! present billing day on (DEC-22).

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId, derived};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::outbox;
use chassis::site::Site;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::App;
use super::lock_for_arrears::{hold_and_check, order_lock};
use super::open_book::currency_of;
use super::read_methods::{Described, describe};
use super::read_wallet::balance;
use crate::domain::cloud_account::{State, Subscription, Vendor};
use crate::domain::settlement_method::{Cause, Facts, Refused, SettlementMethod, Target, judge};
use crate::peers::workspaces::{Order, Workspace, leaves_arrears_event, lock_event};
use crate::store;

/// Why a method is not changed.
#[derive(Debug)]
pub enum MethodRejection {
    /// No such workspace.
    NoWorkspace(WorkspaceId),
    /// The payer has no such subscription.
    NoSubscription(SubscriptionId),
    /// No such billing account.
    NoAccount(BillingAccountId),
    /// Nobody pays for the workspace.
    NotBound(WorkspaceId),
    /// It is dissolved.
    Dissolved(WorkspaceId),
    /// Another account pays from then on.
    PayerChanges(WorkspaceId, OffsetDateTime),
    /// A rule refuses.
    Rule(Refused, Option<Site>),
}

/// What a caller wants.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// The billing account.
    BillingAccount,
    /// A subscription of the payer's.
    Subscription(SubscriptionId),
}

/// Who changes.
#[derive(Debug, Clone)]
pub struct By {
    /// The caller's label.
    pub label: String,
    /// An operator, whose changes do not count.
    pub is_operator: bool,
}

type Changed = Result<Outcome<Described>, Failure<MethodRejection>>;

/// What other services say of a change, asked before any transaction.
struct Asked {
    workspace: Workspace,
    payer: BillingAccountId,
    facts: Facts,
}

async fn ask(app: &App, id: WorkspaceId, wanted: Wanted, by: &By) -> Result<Asked, Failure<MethodRejection>> {
    let rejected = |rejection| Failure::Rejected(rejection);
    let workspace = app.workspaces.get(id).await?.ok_or(rejected(MethodRejection::NoWorkspace(id)))?;
    if workspace.is_dissolved {
        return Err(rejected(MethodRejection::Dissolved(id)));
    }
    let (payer, currency) = workspace.payer.ok_or(rejected(MethodRejection::NotBound(id)))?;
    let owed = balance(app, payer).await;
    let owed = owed.map_err(|failure| failure.map(|_| MethodRejection::NoAccount(payer)))?.arrears;
    let now = app.clock.now();
    let package_runs = match wanted {
        Wanted::Subscription(_) => app.packages.run(payer, UsageDate::of(now)).await?,
        Wanted::BillingAccount => false,
    };
    if let (Wanted::Subscription(_), Some(until)) = (wanted, workspace.payer_until) {
        return Err(rejected(MethodRejection::PayerChanges(id, until)));
    }
    let facts = Facts {
        current: None,
        left_behind: false,
        channel: None,
        site_vendor: Vendor::of_site(workspace.site.word()),
        any_method: false,
        currency,
        arrears: owed.is_positive().then_some(owed),
        package_runs,
        last_counted: None,
        cause: if by.is_operator { Cause::Operator } else { Cause::Holder },
        now,
    };
    Ok(Asked { workspace, payer, facts })
}

/// The target, locked so that it does not end while the method is written.
async fn target(
    connection: &mut PgConnection,
    payer: BillingAccountId,
    wanted: Wanted,
) -> Result<Target, Failure<MethodRejection>> {
    let Wanted::Subscription(id) = wanted else { return Ok(Target::BillingAccount) };
    let found = store::subscriptions::get_for_update(connection, id).await?;
    let own = found.filter(|subscription| subscription.billing_account_id == Some(payer));
    own.map(Target::Subscription).ok_or(Failure::Rejected(MethodRejection::NoSubscription(id)))
}

/// The subscription that settles now. One of an earlier payer's does not.
fn current(described: &Described, payer: BillingAccountId) -> Option<Subscription> {
    described.subscription.clone().filter(|subscription| subscription.billing_account_id == Some(payer))
}

/// Writes it down, from now on; two that follow each other within a clock's tick or across replicas keep their order.
async fn write(
    connection: &mut PgConnection,
    mut method: SettlementMethod,
    last: Option<&SettlementMethod>,
    label: &str,
) -> sqlx::Result<SettlementMethod> {
    if let Some(last) = last {
        method.effective_from = method.effective_from.max(last.effective_from + Duration::MICROSECOND);
    }
    store::settlement_methods::insert(connection, &method, label).await?;
    Ok(method)
}

/// What the wallet takes over shares its debts; what leaves it does not.
async fn share_debts(
    app: &App,
    connection: &mut PgConnection,
    (id, payer): (WorkspaceId, BillingAccountId),
    wanted: Wanted,
    request_id: Uuid,
) -> sqlx::Result<()> {
    let now = app.clock.now();
    match wanted {
        Wanted::BillingAccount => order_lock(app, connection, payer, request_id, now).await,
        Wanted::Subscription(_) => {
            outbox::append(connection, app.schema, &leaves_arrears_event(id, payer, request_id), now).await
        }
    }
}

/// Changes it, once per request.
pub async fn change_method(
    app: &App,
    request: &Idempotent<Described>,
    id: WorkspaceId,
    wanted: Wanted,
    by: &By,
) -> Changed {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let Asked { workspace, payer, mut facts } = ask(app, id, wanted, by).await?;
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, facts.now).await? {
        return Ok(Outcome::Replay(answer));
    }
    // Its book comes before everything else that is locked: what is owed now is owed until this is done.
    facts.arrears = hold_and_check(&mut tx, payer).await?;
    let target = target(&mut tx, payer, wanted).await?;
    store::settlement_methods::hold(&mut tx, id).await?;
    facts.now = app.clock.now();
    let last = store::settlement_methods::newest(&mut tx, id).await?;
    let present = describe(&mut tx, id, last.clone()).await?;
    facts.current = current(&present, payer);
    facts.left_behind = present.subscription.is_some() && facts.current.is_none();
    // A subscription that is not active has had the workspace locked, or will have: the order waits its turn.
    let unlocks = present.subscription.as_ref().is_some_and(|it| it.state != State::Active);
    if unlocks && facts.cause == Cause::Holder {
        facts.cause = Cause::Unlocking;
    }
    facts.channel = present.channel;
    facts.any_method = store::any_methods::is_allowed(&mut tx, payer).await?;
    facts.last_counted = store::settlement_methods::last_counted(&mut tx, id).await?;
    judge(&facts, &target)
        .map_err(|refused| Failure::Rejected(MethodRejection::Rule(refused, Some(workspace.site))))?;
    let method = SettlementMethod {
        workspace_id: id,
        effective_from: facts.now,
        billing_account_id: payer,
        subscription: match &target {
            Target::BillingAccount => None,
            Target::Subscription(subscription) => Some(subscription.subscription_id),
        },
        cause: facts.cause,
    };
    let method = write(&mut tx, method, last.as_ref(), &by.label).await?;
    if unlocks {
        let event = lock_event(Order::Unlock, id, None, derived(request.request_id(), "unlock"));
        outbox::append(&mut tx, app.schema, &event, facts.now).await?;
    }
    if facts.arrears.is_some() {
        share_debts(app, &mut tx, (id, payer), wanted, derived(request.effect_id(), &id.to_string())).await?;
    }
    let described = describe(&mut tx, id, Some(method)).await?;
    request.store(&mut tx, app.schema, &described).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(described))
}

/// Has a new workspace settled by the subscription through which it came, once per request (SM-7).
pub async fn activate_method(
    app: &App,
    request: &Idempotent<Described>,
    id: WorkspaceId,
    payer: BillingAccountId,
    subscription: SubscriptionId,
    by: &By,
) -> Changed {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let wanted = Wanted::Subscription(subscription);
    if let Target::Subscription(found) = target(&mut tx, payer, wanted).await?
        && found.state != State::Active
    {
        let refused = Refused::TargetEnded(found.subscription_id);
        return Err(Failure::Rejected(MethodRejection::Rule(refused, None)));
    }
    store::settlement_methods::hold(&mut tx, id).await?;
    if store::settlement_methods::newest(&mut tx, id).await?.is_some() {
        return Err(Failure::Rejected(MethodRejection::Rule(Refused::Unchanged, None)));
    }
    let method = SettlementMethod {
        workspace_id: id,
        effective_from: now,
        billing_account_id: payer,
        subscription: Some(subscription),
        cause: Cause::Activation,
    };
    store::settlement_methods::insert(&mut tx, &method, &by.label).await?;
    let described = describe(&mut tx, id, Some(method)).await?;
    request.store(&mut tx, app.schema, &described).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(described))
}

/// Sets the switch, once per request (SM-5).
pub async fn set_any_method(
    app: &App,
    request: &Idempotent<bool>,
    id: BillingAccountId,
    allowed: bool,
    reason: &str,
) -> Result<Outcome<bool>, Failure<MethodRejection>> {
    if currency_of::<MethodRejection>(app, id).await?.is_none() {
        return Err(Failure::Rejected(MethodRejection::NoAccount(id)));
    }
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    store::any_methods::upsert(&mut tx, id, allowed, reason, now).await?;
    request.store(&mut tx, app.schema, &allowed).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(allowed))
}
