//! How workspaces are settled: SM-8 cell by cell through the API, each refusal with its rule; and whose money pays a day.

use chassis::status::metadata_of;
use tallystick_proto::billing::v1::package::Kind as PackageKind;
use tallystick_proto::billing::v1::{PackageServiceListRequest, PackageServiceRegisterRequest};
use tallystick_proto::common::v1::{Site, Vendor};
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::settlement::Method;
use tallystick_proto::settlement::v1::settlement_method::{Cause, Kind};
use tallystick_proto::settlement::v1::settlement_method_service_client::SettlementMethodServiceClient;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceBindRequest, SettlementMethod, SettlementMethodServiceActivateRequest,
    SettlementMethodServiceChangeRequest, SettlementMethodServiceGetRequest,
    SettlementMethodServiceListChangesRequest, SettlementMethodServiceSetAnyMethodRequest,
    SimulatedMarketplaceServiceSubscribeRequest, SimulatedMarketplaceServiceTellRequest, Subscription,
};
use tallystick_proto::workspace::v1::workspace::State;
use tests::{PATIENCE, Settled, World, cny};
use time::Duration;
use tonic::Status;

use crate::bindings::{id, refusal, workspace};
use crate::sessions::{channel, payer, sign_in, with_token};

/// Request ids that nobody else has.
pub fn fresh() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    id(0x5000_0000 + u128::from(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
}

/// A customer buys at a vendor; answers the subscription and what it lands with.
pub async fn buy(world: &World, vendor: Vendor, instance: &str, currency: &str) -> (Subscription, String) {
    let request = SimulatedMarketplaceServiceSubscribeRequest {
        vendor: vendor.into(),
        cloud_account_id: format!("account of {instance}").replace(' ', "-"),
        instance_id: instance.to_owned(),
        currency_code: currency.to_owned(),
    };
    let answer = world.clients.marketplaces.clone().subscribe(request).await.unwrap().into_inner();
    (answer.subscription.unwrap(), answer.landing_token)
}

pub async fn tell(world: &World, subscription_id: &str, event: Event) -> Result<Subscription, Status> {
    let request = SimulatedMarketplaceServiceTellRequest {
        subscription_id: subscription_id.to_owned(),
        event: event.into(),
    };
    Ok(world.clients.marketplaces.clone().tell(request).await?.into_inner().subscription.unwrap())
}

pub async fn bind(world: &World, payer: &str, proof: Proof) -> Result<Subscription, Status> {
    let request = CloudAccountServiceBindRequest {
        request_id: fresh(),
        billing_account_id: payer.to_owned(),
        proof: Some(proof),
    };
    Ok(world.clients.cloud_accounts.clone().bind(request).await?.into_inner().subscription.unwrap())
}

/// A subscription that is bound to a payer.
async fn subscription(world: &World, payer: &str, vendor: Vendor, instance: &str) -> String {
    let (bought, token) = buy(world, vendor, instance, "CNY").await;
    bind(world, payer, Proof::LandingToken(token)).await.unwrap();
    bought.subscription_id
}

pub fn change(workspace: &str, subscription: Option<&str>) -> SettlementMethodServiceChangeRequest {
    let kind = if subscription.is_some() { Kind::CloudAccount } else { Kind::BillingAccount };
    SettlementMethodServiceChangeRequest {
        request_id: fresh(),
        workspace_id: workspace.to_owned(),
        kind: kind.into(),
        subscription_id: subscription.unwrap_or_default().to_owned(),
    }
}

async fn changed(
    world: &World,
    token: &str,
    request: SettlementMethodServiceChangeRequest,
) -> Result<SettlementMethod, Status> {
    let mut methods = SettlementMethodServiceClient::new(channel(world, "settlement-svc"));
    let answer = methods.change(with_token(request, token)).await?;
    Ok(answer.into_inner().settlement_method.unwrap())
}

async fn method(world: &World, workspace: &str) -> SettlementMethod {
    let request = SettlementMethodServiceGetRequest { workspace_id: workspace.to_owned() };
    world.clients.methods.clone().get(request).await.unwrap().into_inner().settlement_method.unwrap()
}

pub async fn payer_token(world: &World, name: &str) -> String {
    sign_in(world, payer(&format!("{name}-ltd")), tests::PASSWORD).await.unwrap().access_token
}

async fn set_any(world: &World, payer: &str, allowed: bool) {
    let request = SettlementMethodServiceSetAnyMethodRequest {
        request_id: fresh(),
        billing_account_id: payer.to_owned(),
        allowed,
        reason: "asked for by its manager".to_owned(),
    };
    world.clients.methods.clone().set_any_method(request).await.unwrap();
}

async fn next_month(world: &World) {
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::days(32)).await.unwrap();
}

/// A commercial workspace of a customer on the Hangzhou site, which Alibaba Cloud operates.
pub async fn customer(world: &World, name: &str) -> (Settled, String) {
    let own = world.customer_with_password(name).await.unwrap();
    let token = payer_token(world, name).await;
    (own, token)
}

/// SM-8, each cell in a workspace of its own, with the reason and the rule of each refusal.
#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_of_transitions_holds_cell_by_cell() {
    let world = World::new().await.unwrap();
    let mut cells = 0;
    for (row, from) in ["billing account", "active", "ended", "frozen", "marketplace"].into_iter().enumerate()
    {
        for (column, any) in [(0, false), (1, false), (2, false), (2, true)] {
            let name = format!("cell-{row}{column}{}", if any { "any" } else { "" });
            let (own, token) = customer(&world, &name).await;
            let (alibaba, aws) = (Vendor::AlibabaCloud, Vendor::Aws);
            let first = subscription(&world, own.payer(), alibaba, &format!("{name}-1")).await;
            let target = match column {
                0 => None,
                1 => Some(subscription(&world, own.payer(), alibaba, &format!("{name}-2")).await),
                _ => Some(subscription(&world, own.payer(), aws, &format!("{name}-3")).await),
            };
            match from {
                "billing account" => {}
                "marketplace" => activate(&world, &own, &first).await,
                _ => {
                    changed(&world, &token, change(own.workspace(), Some(&first))).await.unwrap();
                }
            }
            match from {
                // Closed by the customer it would be switched at once (MK-11).
                "ended" => drop(tell(&world, &first, Event::Expired).await.unwrap()),
                "frozen" => drop(tell(&world, &first, Event::Frozen).await.unwrap()),
                _ => {}
            }
            if any {
                set_any(&world, own.payer(), true).await;
            }
            next_month(&world).await;
            let token = payer_token(&world, &name).await;
            let answer = changed(&world, &token, change(own.workspace(), target.as_deref())).await;
            let expected: Option<(&str, &str)> = match (from, column, any) {
                ("billing account", 0, _) => Some(("METHOD_UNCHANGED", "")),
                ("billing account" | "ended" | "frozen", 2, false) => Some(("VENDOR_NOT_ALLOWED", "SM-5")),
                ("active", _, _) => Some(("SUBSCRIPTION_ACTIVE", "SM-4")),
                ("marketplace", _, _) => Some(("CHANNEL_VENDOR_ONLY", "SM-7")),
                _ => None,
            };
            match expected {
                Some((reason, rule)) => {
                    let status = refusal(answer, reason);
                    let named = metadata_of(&status, "rule").unwrap_or_default();
                    assert_eq!(named, rule, "{from} -> {column} any={any}");
                }
                None => {
                    let method = answer.unwrap_or_else(|s| panic!("{from} -> {column} any={any}: {s:?}"));
                    assert_eq!(method.subscription_id, target.unwrap_or_default());
                }
            }
            cells += 1;
        }
    }
    assert_eq!(cells, 20);
}

async fn activate(world: &World, own: &Settled, subscription_id: &str) {
    let account_svc = world.stack.signers[0].token(&["settlement-svc"]).unwrap();
    let mut methods = SettlementMethodServiceClient::new(channel(world, "settlement-svc"));
    let request = SettlementMethodServiceActivateRequest {
        request_id: fresh(),
        workspace_id: own.workspace().to_owned(),
        billing_account_id: own.payer().to_owned(),
        subscription_id: subscription_id.to_owned(),
    };
    let activated = methods.activate(with_token(request.clone(), &account_svc)).await.unwrap().into_inner();
    assert_eq!(activated.settlement_method.unwrap().channel(), Vendor::AlibabaCloud);
    let again = SettlementMethodServiceActivateRequest { request_id: fresh(), ..request };
    refusal(methods.activate(with_token(again, &account_svc)).await, "METHOD_UNCHANGED");
}

/// SM-7: whoever came through a marketplace settles with that vendor only, also after the subscription has ended, whatever switch is on.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_from_a_marketplace_settles_with_that_vendor_only() {
    let world = World::new().await.unwrap();
    let (own, _) = customer(&world, "channel").await;
    let first = subscription(&world, own.payer(), Vendor::AlibabaCloud, "channel-1").await;
    let again = subscription(&world, own.payer(), Vendor::AlibabaCloud, "channel-2").await;
    let other = subscription(&world, own.payer(), Vendor::Aws, "channel-3").await;
    activate(&world, &own, &first).await;
    set_any(&world, own.payer(), true).await;
    tell(&world, &first, Event::Closed).await.unwrap();
    let switched = method(&world, own.workspace()).await;
    assert_eq!((switched.kind(), switched.cause()), (Kind::BillingAccount, Cause::SubscriptionEnded));
    world
        .take_mail("channel@example.com", "工作空间 channel 的结算方式")
        .await
        .expect("the payer is told (MK-11)");
    let token = payer_token(&world, "channel").await;
    let status =
        refusal(changed(&world, &token, change(own.workspace(), Some(&other))).await, "CHANNEL_VENDOR_ONLY");
    assert_eq!(metadata_of(&status, "vendor").as_deref(), Some("VENDOR_ALIBABA_CLOUD"));
    changed(&world, &token, change(own.workspace(), Some(&again))).await.expect("the same vendor, once more");
}

/// SM-3, DEC-21: once a calendar month at +08:00, and only what the holder changes while the workspace is not locked counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_changes_once_a_calendar_month() {
    let world = World::new().await.unwrap();
    let (own, token) = customer(&world, "monthly").await;
    let first = subscription(&world, own.payer(), Vendor::AlibabaCloud, "monthly-1").await;
    let second = subscription(&world, own.payer(), Vendor::AlibabaCloud, "monthly-2").await;
    let request = change(own.workspace(), Some(&first));
    changed(&world, &token, request.clone()).await.unwrap();
    let mut methods = SettlementMethodServiceClient::new(channel(&world, "settlement-svc"));
    let replay = methods.change(with_token(request.clone(), &token)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    let reused = SettlementMethodServiceChangeRequest { subscription_id: second.clone(), ..request };
    refusal(changed(&world, &token, reused).await, "REQUEST_ID_REUSED");
    tell(&world, &first, Event::Closed).await.unwrap();
    let status = refusal(
        changed(&world, &token, change(own.workspace(), Some(&second))).await,
        "METHOD_CHANGED_THIS_MONTH",
    );
    assert_eq!(metadata_of(&status, "rule").as_deref(), Some("SM-3"));
    // The automatic switch did not count, and an operator's change does not.
    let operated =
        world.clients.methods.clone().change(change(own.workspace(), Some(&second))).await.unwrap();
    assert_eq!(operated.into_inner().settlement_method.unwrap().cause(), Cause::Operator);
    // Frozen, the workspace is locked: what its holder changes to unlock it does not count, and unlocks it.
    // The lock may not have arrived yet: its lifting comes after it all the same.
    tell(&world, &second, Event::Frozen).await.unwrap();
    let freed = changed(&world, &token, change(own.workspace(), None)).await.unwrap();
    assert_eq!(freed.cause(), Cause::Unlocking);
    world.quiet().await.unwrap();
    next_month(&world).await;
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Open, "no lock is left");
    let third = subscription(&world, own.payer(), Vendor::AlibabaCloud, "monthly-3").await;
    let token = payer_token(&world, "monthly").await;
    changed(&world, &token, change(own.workspace(), Some(&third))).await.unwrap();
    let list = SettlementMethodServiceListChangesRequest {
        workspace_id: own.workspace().to_owned(),
        ..Default::default()
    };
    let history =
        world.clients.methods.clone().list_changes(list).await.unwrap().into_inner().settlement_methods;
    let causes: Vec<_> = history.iter().map(SettlementMethod::cause).collect();
    let expected =
        [Cause::Holder, Cause::SubscriptionEnded, Cause::Operator, Cause::Unlocking, Cause::Holder];
    assert_eq!(causes, expected);
}

async fn wait_for(world: &World, id: &str, state: State) {
    let wait = async {
        while workspace(world, id).await.state() != state {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{id} does not become {state:?}"));
}

/// DEC-22, DEC-53, YP-2: what is owed, another currency and a package keep a workspace with its billing account.
#[tokio::test(flavor = "multi_thread")]
async fn arrears_another_currency_and_a_running_package_are_refused_by_rule() {
    let world = World::new().await.unwrap();
    let (own, token) = customer(&world, "kept").await;
    let fitting = subscription(&world, own.payer(), Vendor::AlibabaCloud, "kept-1").await;
    let (dollars, landing) = buy(&world, Vendor::AlibabaCloud, "kept-usd", "USD").await;
    let status = refusal(bind(&world, own.payer(), Proof::LandingToken(landing)).await, "CURRENCY_MISMATCH");
    assert_eq!(metadata_of(&status, "given").as_deref(), Some("USD"));
    refusal(
        changed(&world, &token, change(own.workspace(), Some(&dollars.subscription_id))).await,
        "OBJECT_NOT_FOUND",
    );
    let package = PackageServiceRegisterRequest {
        request_id: fresh(),
        billing_account_id: own.payer().to_owned(),
        kind: PackageKind::Startup.into(),
        contract: "contract 4711".to_owned(),
    };
    let sold = world.clients.packages.clone().register(package.clone()).await.unwrap().into_inner();
    let replay = world.clients.packages.clone().register(package.clone()).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    let second = PackageServiceRegisterRequest { request_id: fresh(), ..package };
    refusal(world.clients.packages.clone().register(second).await, "PACKAGE_RUNNING");
    let list = PackageServiceListRequest { billing_account_id: own.payer().to_owned(), ..Default::default() };
    let packages = world.clients.packages.clone().list(list).await.unwrap().into_inner().packages;
    assert_eq!(packages, [sold.package.unwrap()]);
    let status =
        refusal(changed(&world, &token, change(own.workspace(), Some(&fitting))).await, "PACKAGE_RUNNING");
    assert_eq!(metadata_of(&status, "rule").as_deref(), Some("YP-2"));
    // Another customer owes for its first day.
    let (owing, _) = customer(&world, "owing").await;
    let target = subscription(&world, owing.payer(), Vendor::AlibabaCloud, "owing-1").await;
    world.clients.advance_to(owing.day.start() + Duration::HOUR).await.unwrap();
    owing.journey.ingest(vec![owing.record("owed", 10, ("pv", "", "10000"))]).await.unwrap();
    world.clients.advance_to(owing.day.end() + Duration::HOUR).await.unwrap();
    owing.journey.seal(owing.day).await.unwrap();
    owing.journey.run_bills(owing.day).await.unwrap();
    owing.journey.settled_bill(owing.workspace(), owing.day).await.unwrap();
    let token = payer_token(&world, "owing").await;
    let status = refusal(
        changed(&world, &token, change(owing.workspace(), Some(&target))).await,
        "ARREARS_OUTSTANDING",
    );
    assert_eq!(metadata_of(&status, "required").as_deref(), Some("2.00"));
    owing.journey.top_up(owing.payer(), cny("100.00")).await.unwrap();
    changed(&world, &token, change(owing.workspace(), Some(&target))).await.unwrap();
}

/// DEC-22: the method of a day is the one at its 24:00, whenever the run gets there; ST-2: vouchers first, the rest to the cloud account.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_settled_by_the_method_of_its_24_00() {
    let world = World::new().await.unwrap();
    let (own, _) = customer(&world, "switcher").await;
    own.journey.grant_voucher(own.payer(), cny("0.50"), own.day).await.unwrap();
    own.journey.top_up(own.payer(), cny("100.00")).await.unwrap();
    let target = subscription(&world, own.payer(), Vendor::AlibabaCloud, "switcher-1").await;
    world.clients.advance_to(own.day.end() - Duration::SECOND).await.unwrap();
    let token = payer_token(&world, "switcher").await;
    own.journey.ingest(vec![own.record("first", 10, ("pv", "", "10000"))]).await.unwrap();
    world.clients.advance_to(own.day.end() + Duration::minutes(30)).await.unwrap();
    // At 00:30 the day before has the billing account, the present one the cloud account.
    changed(&world, &token, change(own.workspace(), Some(&target))).await.unwrap();
    own.journey.ingest(vec![own.record("second", 24 * 60 + 10, ("pv", "", "10000"))]).await.unwrap();
    world.clients.advance_to(own.day.next().end() + Duration::HOUR).await.unwrap();
    // What happens after 24:00 changes no day before it.
    tell(&world, &target, Event::Frozen).await.unwrap();
    let mut paid = Vec::new();
    for day in [own.day, own.day.next()] {
        own.journey.seal(day).await.unwrap();
        own.journey.run_bills(day).await.unwrap();
        let bill = own.journey.settled_bill(own.workspace(), day).await.unwrap();
        let settlement = own.journey.settlement(own.payer(), &bill.bill_id).await.unwrap();
        let told = bill.settlement.unwrap();
        let amounts = [told.voucher_amount, told.cash_amount, told.cloud_amount, told.owed_amount];
        paid.push((settlement.method(), amounts.map(|money| money.unwrap().amount)));
    }
    let words = |amounts: [&str; 4]| amounts.map(str::to_owned);
    assert_eq!(paid[0], (Method::BillingAccount, words(["0.50", "1.50", "0.00", "0.00"])));
    assert_eq!(paid[1], (Method::CloudAccount, words(["0.00", "0.00", "2.00", "0.00"])));
    tell(&world, &target, Event::Reinstated).await.unwrap();
    // A subscription that has ended settles nothing more: the wallet pays.
    world.clients.advance_to(own.day.next().end() + Duration::hours(2)).await.unwrap();
    let minute = 2 * 24 * 60 + 10;
    own.journey.ingest(vec![own.record("third", minute, ("pv", "", "10000"))]).await.unwrap();
    tell(&world, &target, Event::Expired).await.unwrap();
    wait_for(&world, own.workspace(), State::Locking).await;
    let third = own.day.next().next();
    world.clients.advance_to(third.end() + Duration::HOUR).await.unwrap();
    own.journey.seal(third).await.unwrap();
    own.journey.run_bills(third).await.unwrap();
    let bill = own.journey.settled_bill(own.workspace(), third).await.unwrap();
    let settlement = own.journey.settlement(own.payer(), &bill.bill_id).await.unwrap();
    assert_eq!(settlement.method(), Method::BillingAccount);
    world.reconcile().await.unwrap();
}

/// WS-8, MK-43, MK-52, DEC-44: AWS and Huawei Cloud lock when a subscription is closed, and unlock when it is reinstated or another one settles.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_subscription_locks_what_it_settles_and_a_new_one_unlocks_it() {
    let world = World::without_prices().await.unwrap();
    for (vendor, name, site) in
        [(Vendor::Aws, "aws", Site::Cn2Ningxia), (Vendor::HuaweiCloud, "huawei", Site::Cn4Guangzhou)]
    {
        let mut journey = world.journey(name);
        journey.customer.site = site.into();
        let registration = journey.register().await.unwrap();
        let id = registration.workspace_id.as_str();
        let payer = registration.billing_account_id.as_str();
        let first = subscription(&world, payer, vendor, &format!("{name}-1")).await;
        world.clients.methods.clone().change(change(id, Some(&first))).await.unwrap();
        tell(&world, &first, Event::Frozen).await.unwrap();
        wait_for(&world, id, State::Locking).await;
        tell(&world, &first, Event::Reinstated).await.unwrap();
        wait_for(&world, id, State::Open).await;
        tell(&world, &first, Event::Closed).await.unwrap();
        tell(&world, &first, Event::Closed).await.expect("told twice");
        wait_for(&world, id, State::Locking).await;
        let method = method(&world, id).await;
        assert_eq!(
            (method.kind(), method.subscription_active),
            (Kind::CloudAccount, false),
            "no silent switch"
        );
        let second = subscription(&world, payer, vendor, &format!("{name}-2")).await;
        world.clients.methods.clone().change(change(id, Some(&second))).await.unwrap();
        wait_for(&world, id, State::Open).await;
    }
}

/// SM-4: a workspace that an active subscription settles stays with its payer.
#[tokio::test(flavor = "multi_thread")]
async fn an_active_subscription_keeps_a_workspace_with_its_payer() {
    let world = World::without_prices().await.unwrap();
    let (own, token) = customer(&world, "stays").await;
    let first = subscription(&world, own.payer(), Vendor::AlibabaCloud, "stays-1").await;
    world.clients.advance_to(own.day.start() + Duration::HOUR).await.unwrap();
    changed(&world, &token, change(own.workspace(), Some(&first))).await.unwrap();
    let unbind = tallystick_proto::workspace::v1::BindingServiceUnbindRequest {
        request_id: fresh(),
        workspace_id: own.workspace().to_owned(),
    };
    let status = refusal(world.clients.bindings.clone().unbind(unbind).await, "SUBSCRIPTION_ACTIVE");
    assert_eq!(metadata_of(&status, "subscriptionId").as_deref(), Some(first.as_str()));
}

/// DEC-22: what ends its stay with a payer is settled by that payer's subscription no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_leaves_its_payer_takes_none_of_its_subscriptions_along() {
    let world = World::without_prices().await.unwrap();
    let (own, token) = customer(&world, "leaves").await;
    let first = subscription(&world, own.payer(), Vendor::AlibabaCloud, "leaves-1").await;
    world.clients.advance_to(own.day.start() + Duration::HOUR).await.unwrap();
    let unbind = tallystick_proto::workspace::v1::BindingServiceUnbindRequest {
        request_id: fresh(),
        workspace_id: own.workspace().to_owned(),
    };
    world.clients.bindings.clone().unbind(unbind).await.unwrap();
    let request = change(own.workspace(), Some(&first));
    let status = refusal(changed(&world, &token, request).await, "BINDING_CHANGE_PENDING");
    assert_eq!(metadata_of(&status, "workspaceId").as_deref(), Some(own.workspace()));
}

/// DEC-44: a subscription that was frozen, and is closed then, leaves its lock; the change to another method lifts it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_frozen_before_it_was_closed_stays_locked_until_its_method_changes() {
    let world = World::without_prices().await.unwrap();
    let (own, token) = customer(&world, "frozen").await;
    let first = subscription(&world, own.payer(), Vendor::AlibabaCloud, "frozen-1").await;
    changed(&world, &token, change(own.workspace(), Some(&first))).await.unwrap();
    tell(&world, &first, Event::Frozen).await.unwrap();
    tell(&world, &first, Event::Closed).await.unwrap();
    wait_for(&world, own.workspace(), State::Locking).await;
    assert_eq!(method(&world, own.workspace()).await.kind(), Kind::CloudAccount);
    let freed = changed(&world, &token, change(own.workspace(), None)).await.unwrap();
    assert_eq!((freed.kind(), freed.cause()), (Kind::BillingAccount, Cause::Unlocking));
    wait_for(&world, own.workspace(), State::Open).await;
}
