//! What a marketplace tells: that something was bought, and what became of it. When a subscription ends, the workspaces that it settles are switched to their
//! billing account or locked, as the policy of the vendor says (CF-1, DEC-44).

use chassis::failure::Failure;
use chassis::id::{SubscriptionId, WorkspaceId, derived};
use chassis::money::Currency;
use chassis::outbox;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::App;
use super::lock_for_arrears::{hold_and_check, order_lock};
use crate::domain::cloud_account::{Consequence, Event, Payer, Purchase, State, Subscription};
use crate::domain::settlement_method::{Cause, SettlementMethod};
use crate::peers::notifications::switched_event;
use crate::peers::workspaces::{Order, lock_event};
use crate::store;

/// Why a simulated vendor is not listened to.
#[derive(Debug)]
pub enum VendorRejection {
    /// The database was not made for tests.
    NotATestDatabase,
    /// No such subscription.
    NoSubscription(SubscriptionId),
    /// It has ended.
    Ended(SubscriptionId),
}

async fn must_be_test(app: &App) -> Result<(), Failure<VendorRejection>> {
    let deployment = chassis::db::deployment(&app.pool, app.schema).await?;
    if deployment.is_test { Ok(()) } else { Err(Failure::Rejected(VendorRejection::NotATestDatabase)) }
}

/// Notes a purchase of the simulated vendor, and answers what its customer lands with.
pub async fn note_purchase(
    app: &App,
    purchase: Purchase,
    currency: Currency,
) -> Result<(Subscription, String), Failure<VendorRejection>> {
    must_be_test(app).await?;
    let landing_token = app.marketplace.land(&purchase).map_err(Failure::Fatal)?;
    let now = app.clock.now();
    let mut connection = app.pool.acquire().await?;
    let new = Subscription {
        subscription_id: SubscriptionId::new(now),
        purchase: purchase.clone(),
        currency,
        state: State::Active,
        billing_account_id: None,
        created_at: now,
        ended_at: None,
    };
    store::subscriptions::insert(&mut connection, &new).await?;
    let noted = store::subscriptions::find_by_purchase(&mut connection, &purchase).await?;
    let noted = noted.ok_or_else(|| Failure::fatal("a purchase that was noted is not there"))?;
    Ok((noted, landing_token))
}

/// Takes in what the simulated vendor tells.
pub async fn tell_simulated(
    app: &App,
    id: SubscriptionId,
    event: Event,
) -> Result<Subscription, Failure<VendorRejection>> {
    must_be_test(app).await?;
    hear_of_subscription(app, id, event).await
}

/// Takes in what a vendor tells: the new state, and what follows for every workspace that is settled so, in one transaction.
async fn hear_of_subscription(
    app: &App,
    id: SubscriptionId,
    event: Event,
) -> Result<Subscription, Failure<VendorRejection>> {
    let missing = || Failure::Rejected(VendorRejection::NoSubscription(id));
    let known = store::subscriptions::get(&mut *app.pool.acquire().await?, id).await?.ok_or_else(missing)?;
    let payer = match known.billing_account_id {
        Some(payer) => app.billing_accounts.get(payer).await?.map_or(Payer::Closed, |(_, payer)| payer),
        None => Payer::Closed,
    };
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let owes = match known.billing_account_id {
        Some(payer) => hold_and_check(&mut tx, payer).await?,
        None => None,
    };
    let subscription = store::subscriptions::get_for_update(&mut tx, id).await?;
    let mut subscription = subscription.ok_or_else(missing)?;
    if subscription.billing_account_id != known.billing_account_id {
        // Bound in this moment: its payer was not asked.
        return Err(Failure::Transient(
            anyhow::anyhow!("{id} was bound in this moment").context("subscription"),
        ));
    }
    let before = subscription.state;
    let after = event.state_after(before);
    let after = after.ok_or(Failure::Rejected(VendorRejection::Ended(id)))?;
    if after == subscription.state {
        return Ok(subscription);
    }
    subscription.state = after;
    subscription.ended_at = (after == State::Ended).then_some(now);
    store::subscriptions::update(&mut tx, &subscription).await?;
    let consequence = event.consequence(before, subscription.purchase.vendor, payer);
    for workspace in store::settlement_methods::settled_by(&mut tx, id).await? {
        follow(app, &mut tx, (&subscription, workspace), consequence, now).await?;
    }
    if let Some(payer) = subscription.billing_account_id.filter(|_| owes.is_some()) {
        let reason_id = derived(id.uuid(), &now.unix_timestamp_nanos().to_string());
        order_lock(app, &mut tx, payer, reason_id, now).await?;
    }
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(subscription)
}

async fn follow(
    app: &App,
    connection: &mut PgConnection,
    (subscription, workspace): (&Subscription, WorkspaceId),
    consequence: Consequence,
    now: OffsetDateTime,
) -> Result<(), Failure<VendorRejection>> {
    let id = subscription.subscription_id;
    // What is nobody's settles nothing: a workspace that it settled once has another payer.
    let Some(payer) = subscription.billing_account_id else { return Ok(()) };
    store::settlement_methods::hold(&mut *connection, workspace).await?;
    let last = store::settlement_methods::newest(&mut *connection, workspace).await?;
    let Some(last) = last.filter(|last| last.subscription == Some(id)) else {
        // Another call has changed the method since it was listed.
        return Ok(());
    };
    let name = format!("{consequence:?} {workspace} {}", now.unix_timestamp_nanos());
    let request_id = derived(id.uuid(), &name);
    let order = match consequence {
        Consequence::Lock => Order::Lock,
        Consequence::Unlock => Order::Unlock,
        Consequence::Switch => {
            let method = SettlementMethod {
                workspace_id: workspace,
                effective_from: app.clock.now().max(last.effective_from + Duration::MICROSECOND),
                billing_account_id: payer,
                subscription: None,
                cause: Cause::SubscriptionEnded,
            };
            store::settlement_methods::insert(&mut *connection, &method, "VENDOR").await?;
            let vendor = subscription.purchase.vendor;
            let mail = switched_event(payer, workspace, vendor, request_id);
            outbox::append(connection, app.schema, &mail, now).await?;
            return Ok(());
        }
    };
    outbox::append(connection, app.schema, &lock_event(order, workspace, Some(payer), request_id), now)
        .await?;
    Ok(())
}
