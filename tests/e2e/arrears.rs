//! What a payer owes locks what it pays for, and nothing else; what it pays unlocks it again.

use chassis::status::reason_of;
use tallystick_proto::common::v1::{Language, Vendor};
use tallystick_proto::settlement::v1::WalletServiceTopUpRequest;
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::workspace::v1::lock::Cause;
use tallystick_proto::workspace::v1::workspace::State;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, BindingServiceUnbindRequest, UsageServiceIngestBatchRequest, Workspace,
    WorkspaceServiceCreateRequest, WorkspaceServiceLockAllRequest, WorkspaceServiceLockRequest,
    WorkspaceServiceUnlockAllRequest, WorkspaceServiceUnlockRequest,
};
use tests::{Settled, World, cny};
use time::Duration;

use crate::bindings::{id, refusal, workspace};
use crate::methods::{bind, buy, change, tell};

/// A further workspace of the customer's, bound to its payer.
async fn further(world: &World, own: &Settled, name: &str, number: u128) -> String {
    let create = WorkspaceServiceCreateRequest {
        request_id: id(number),
        owner_console_account_id: own.registration.console_account_id.clone(),
        name: name.to_owned(),
        site: own.registration.site,
        language: Language::En.into(),
    };
    let made = world.clients.workspaces.clone().create(create).await.unwrap().into_inner().workspace.unwrap();
    let bind = BindingServiceBindRequest {
        request_id: id(number + 1),
        workspace_id: made.workspace_id.clone(),
        billing_account_id: own.payer().to_owned(),
        billing_account_code: None,
    };
    world.clients.bindings.clone().bind(bind).await.unwrap();
    made.workspace_id
}

/// Uses, seals and bills the customer's first day, without a cent in its wallet.
async fn owe(world: &World, own: &Settled) {
    world.clients.advance_to(own.day.start() + Duration::hours(2)).await.unwrap();
    own.journey.ingest(vec![own.record("one", 60, ("pv", "", "100000"))]).await.unwrap();
    world.clients.advance_to(own.day.end() + Duration::hours(2)).await.unwrap();
    own.journey.seal(own.day).await.unwrap();
    own.journey.run_bills(own.day).await.unwrap();
    own.journey.settled_bill(own.workspace(), own.day).await.unwrap();
    world.quiet().await.unwrap();
}

async fn pay(world: &World, own: &Settled, amount: &str, number: u128) {
    let request = WalletServiceTopUpRequest {
        request_id: id(number),
        billing_account_id: own.payer().to_owned(),
        amount: Some(cny(amount)),
        provider: "bank".to_owned(),
        reference: number.to_string(),
    };
    world.clients.wallets.clone().top_up(request).await.unwrap();
    world.quiet().await.unwrap();
}

fn causes(workspace: &Workspace) -> Option<(Cause, bool)> {
    workspace.lock.as_ref().map(|lock| (lock.cause(), lock.other_cause_time.is_some()))
}

/// DEC-42, WS-5, DEC-41: arrears lock all that the wallet settles, and nothing that a cloud account does; a part of the money unlocks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn arrears_lock_what_the_account_pays_by_itself_until_all_is_paid() {
    let world = World::new().await.unwrap();
    let own = world.customer("owing").await.unwrap();
    let idle = further(&world, &own, "Idle", 10).await;
    let cloud = further(&world, &own, "Cloud", 20).await;
    let leaving = further(&world, &own, "Leaving", 30).await;
    let (bought, token) = buy(&world, Vendor::AlibabaCloud, "i-owing", "CNY").await;
    bind(&world, own.payer(), Proof::LandingToken(token)).await.unwrap();
    world.clients.methods.clone().change(change(&cloud, Some(&bought.subscription_id))).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(2)).await.unwrap();
    world.clients.advance_to(own.day.end() + Duration::minutes(1)).await.unwrap();
    let unbind = BindingServiceUnbindRequest { request_id: id(40), workspace_id: leaving.clone() };
    world.clients.bindings.clone().unbind(unbind).await.unwrap();
    own.journey.ingest(vec![own.record("one", 60, ("pv", "", "100000"))]).await.unwrap();
    owe(&world, &own).await;
    for locked in [own.workspace(), idle.as_str()] {
        let locked = workspace(&world, locked).await;
        assert_eq!((locked.state(), causes(&locked)), (State::Locking, Some((Cause::Arrears, false))));
    }
    for open in [&cloud, &leaving] {
        assert_eq!(workspace(&world, open).await.lock, None, "no concern of the arrears");
    }
    let mail = world.take_mail("owing@example.com", "Idle").await.unwrap();
    assert!(mail.contains("14"), "{mail}");
    let owed = own.journey.balance(own.payer()).await.unwrap().arrears.unwrap();
    assert_eq!(owed, cny("20.00"));
    // What the wallet takes over shares its debts (CF-1: closed by the customer, the billing account settles).
    tell(&world, &bought.subscription_id, Event::Closed).await.unwrap();
    world.quiet().await.unwrap();
    assert_eq!(causes(&workspace(&world, &cloud).await), Some((Cause::Arrears, false)));
    pay(&world, &own, "19.99", 50).await;
    assert!(workspace(&world, own.workspace()).await.lock.is_some(), "a cent is owed still");
    pay(&world, &own, "0.01", 51).await;
    for unlocked in [own.workspace(), idle.as_str(), cloud.as_str()] {
        assert_eq!(workspace(&world, unlocked).await.state(), State::Open);
    }
    world.take_mail("owing@example.com", "unlocked").await.unwrap();
    world.reconcile().await.unwrap();
}

/// DEC-42: a subscription that has ended keeps no workspace from its payer's arrears; another one does, from the moment it settles.
#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_wallet_leaves_its_arrears() {
    let world = World::new().await.unwrap();
    let own = world.customer("moving").await.unwrap();
    let cloud = further(&world, &own, "Cloud", 10).await;
    let mut bought = Vec::new();
    for instance in ["i-first", "i-second"] {
        let (subscription, token) = buy(&world, Vendor::AlibabaCloud, instance, "CNY").await;
        bind(&world, own.payer(), Proof::LandingToken(token)).await.unwrap();
        bought.push(subscription.subscription_id);
    }
    world.clients.methods.clone().change(change(&cloud, Some(&bought[0]))).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(1)).await.unwrap();
    tell(&world, &bought[0], Event::Expired).await.unwrap();
    owe(&world, &own).await;
    assert_eq!(
        causes(&workspace(&world, &cloud).await),
        Some((Cause::Subscription, true)),
        "its own, and arrears"
    );
    world.clients.methods.clone().change(change(&cloud, Some(&bought[1]))).await.unwrap();
    world.quiet().await.unwrap();
    assert_eq!(workspace(&world, &cloud).await.lock, None, "a cloud account settles it now");
    assert_eq!(causes(&workspace(&world, own.workspace()).await), Some((Cause::Arrears, false)));
}

/// WS-4, DEC-40, DEC-43: usage is taken and billed for 14 days; then refused, until what is owed is paid.
#[tokio::test(flavor = "multi_thread")]
async fn unpaid_for_14_days_it_takes_no_usage_until_it_is_paid() {
    let world = World::new().await.unwrap();
    let own = world.customer("unpaid").await.unwrap();
    owe(&world, &own).await;
    let ingest = |place: &'static str, hours: i64| {
        let records = vec![own.record(place, hours * 60, ("pv", "", "10000"))];
        let mut usage = world.clients.usage.clone();
        async move { usage.ingest_batch(UsageServiceIngestBatchRequest { records }).await.unwrap().into_inner() }
    };
    world.clients.advance_to(own.day.start() + Duration::hours(24 * 10 + 1)).await.unwrap();
    assert_eq!(ingest("day 10", 24 * 10).await.accepted_count, 1, "the countdown runs, everything goes on");
    world.clients.advance_to(own.day.start() + Duration::hours(24 * 16 + 1)).await.unwrap();
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Locked);
    assert_eq!(ingest("day 16", 24 * 16).await.accepted_count, 0);
    pay(&world, &own, "100.00", 1).await;
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Open);
    world.clients.advance_to(own.day.start() + Duration::hours(24 * 16 + 4)).await.unwrap();
    assert_eq!(ingest("paid", 24 * 16 + 3).await.accepted_count, 1, "from the next full hour on");
}

/// WS-3: a workspace may be locked for both causes; each is lifted by itself, and an order for another payer's workspace does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn two_causes_are_lifted_one_by_one() {
    let world = World::new().await.unwrap();
    let own = world.customer("twofold").await.unwrap();
    let lock = |number, cause: Cause, payer: &str| WorkspaceServiceLockRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
        cause: cause.into(),
        billing_account_id: payer.to_owned(),
    };
    let mut workspaces = world.clients.workspaces.clone();
    let stranger = format!("bacc_{}", id(99));
    workspaces.lock(lock(1, Cause::Subscription, &stranger)).await.unwrap();
    assert_eq!(workspace(&world, own.workspace()).await.lock, None, "who paid before locks nothing");
    workspaces.lock(lock(2, Cause::Subscription, own.payer())).await.unwrap();
    let all = WorkspaceServiceLockAllRequest {
        request_id: id(3),
        billing_account_id: own.payer().to_owned(),
        except_workspace_ids: Vec::new(),
    };
    assert_eq!(workspaces.lock_all(all.clone()).await.unwrap().into_inner().workspace_count, 1);
    let replay = workspaces.lock_all(all.clone()).await.unwrap();
    assert!(replay.metadata().contains_key("idempotent-replay"));
    let reused = WorkspaceServiceLockAllRequest { except_workspace_ids: vec![idless()], ..all.clone() };
    refusal(workspaces.lock_all(reused).await, "REQUEST_ID_REUSED");
    assert_eq!(causes(&workspace(&world, own.workspace()).await), Some((Cause::Subscription, true)));
    let unlock = WorkspaceServiceUnlockRequest {
        request_id: id(4),
        workspace_id: own.workspace().to_owned(),
        cause: Cause::Subscription.into(),
    };
    workspaces.unlock(unlock).await.unwrap();
    assert_eq!(causes(&workspace(&world, own.workspace()).await), Some((Cause::Arrears, false)));
    let unlock =
        WorkspaceServiceUnlockAllRequest { request_id: id(5), billing_account_id: own.payer().to_owned() };
    assert_eq!(workspaces.unlock_all(unlock.clone()).await.unwrap().into_inner().workspace_count, 1);
    let replay = workspaces.unlock_all(unlock.clone()).await.unwrap();
    assert!(replay.metadata().contains_key("idempotent-replay"));
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Open);
    let reused = WorkspaceServiceUnlockAllRequest { billing_account_id: stranger, ..unlock };
    let reused = workspaces.unlock_all(reused).await;
    assert!(reused.is_ok(), "a request id is one of its account: {reused:?}");
    let wrong = WorkspaceServiceLockAllRequest { except_workspace_ids: vec!["x".to_owned()], ..all };
    let status = workspaces.lock_all(WorkspaceServiceLockAllRequest { request_id: id(6), ..wrong }).await;
    assert_eq!(reason_of(&status.unwrap_err()).as_deref(), Some("FIELD_INVALID"));
}

/// A workspace that there is not.
fn idless() -> String {
    format!("wksp_{}", id(98))
}
