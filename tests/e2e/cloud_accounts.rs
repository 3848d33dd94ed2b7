//! Purchases of marketplaces, and whose they become.

use chassis::status::metadata_of;
use chassis::wire::instant;
use tallystick_proto::common::v1::{Site, Vendor};
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::cloud_account_service_client::CloudAccountServiceClient;
use tallystick_proto::settlement::v1::settlement_method::Kind;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::settlement::v1::subscription::State as SubscriptionState;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceBindRequest, CloudAccountServiceListRequest,
    CloudAccountServiceListSubscriptionsRequest, CloudAccountServiceResolveRequest, Purchase,
};
use tallystick_proto::workspace::v1::{BindingServiceBindRequest, WorkspaceServiceCreateRequest};
use tests::World;

use crate::bindings::refusal;
use crate::methods::{bind, buy, change, customer, fresh, payer_token, tell};
use crate::sessions::{channel, with_token};

/// MK-1, MK-5, DEC-60, DEC-63, DEC-64: a landing token works once; what a customer types must match a purchase; a cloud account is in one billing account.
#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_bound_once_and_a_cloud_account_to_one_payer() {
    let world = World::without_prices().await.unwrap();
    let (own, _) = customer(&world, "buyer").await;
    let (other, _) = customer(&world, "rival").await;
    let (bought, token) = buy(&world, Vendor::HuaweiCloud, "i-1", "CNY").await;
    let resolve = |token: &str| CloudAccountServiceResolveRequest { landing_token: token.to_owned() };
    let resolved = world.clients.cloud_accounts.clone().resolve(resolve(&token)).await.unwrap().into_inner();
    assert_eq!(resolved.subscription.unwrap(), bought);
    assert_eq!(resolved.billing_account_id, "");
    let forged = "nonsense";
    refusal(world.clients.cloud_accounts.clone().resolve(resolve(forged)).await, "LANDING_TOKEN_INVALID");
    let wrong = Purchase {
        vendor: Vendor::HuaweiCloud.into(),
        cloud_account_id: bought.cloud_account_id.clone(),
        instance_id: "i-2".to_owned(),
    };
    refusal(bind(&world, own.payer(), Proof::Purchase(wrong.clone())).await, "OBJECT_NOT_FOUND");
    let request = CloudAccountServiceBindRequest {
        request_id: fresh(),
        billing_account_id: own.payer().to_owned(),
        proof: Some(Proof::LandingToken(token.clone())),
    };
    let holder = payer_token(&world, "buyer").await;
    let mut accounts = CloudAccountServiceClient::new(channel(&world, "settlement-svc"));
    let bound = accounts.bind(with_token(request.clone(), &holder)).await.unwrap().into_inner();
    assert_eq!(bound.subscription.unwrap().billing_account_id, own.payer());
    let replay = accounts.bind(with_token(request, &holder)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    refusal(bind(&world, own.payer(), Proof::LandingToken(token)).await, "LANDING_TOKEN_INVALID");
    let typed = Purchase { instance_id: "i-1".to_owned(), ..wrong };
    let status =
        refusal(bind(&world, other.payer(), Proof::Purchase(typed.clone())).await, "CLOUD_ACCOUNT_TAKEN");
    assert_eq!(metadata_of(&status, "vendor").as_deref(), Some("VENDOR_HUAWEI_CLOUD"));
    let guessed = Purchase { vendor: Vendor::Aws.into(), ..typed.clone() };
    refusal(bind(&world, own.payer(), Proof::Purchase(guessed)).await, "FIELD_INVALID");
    bind(&world, own.payer(), Proof::Purchase(typed)).await.expect("its own, once more");
    let list =
        CloudAccountServiceListRequest { billing_account_id: own.payer().to_owned(), ..Default::default() };
    let listed = world.clients.cloud_accounts.clone().list(list).await.unwrap().into_inner().cloud_accounts;
    assert_eq!(listed.len(), 1);
    let request = CloudAccountServiceListSubscriptionsRequest {
        billing_account_id: own.payer().to_owned(),
        ..Default::default()
    };
    let listed = world.clients.cloud_accounts.clone().list_subscriptions(request).await.unwrap().into_inner();
    assert_eq!(listed.subscriptions.len(), 1);
    let (third, late) = buy(&world, Vendor::HuaweiCloud, "i-9", "CNY").await;
    let (again, _) = buy(&world, Vendor::HuaweiCloud, "i-9", "CNY").await;
    assert_eq!(again, third, "the same purchase");
    let ended = tell(&world, &third.subscription_id, Event::Expired).await.unwrap();
    assert_eq!(ended.state(), SubscriptionState::Ended);
    assert!(ended.end_time.as_ref().and_then(instant).is_some());
    refusal(bind(&world, own.payer(), Proof::LandingToken(late)).await, "SUBSCRIPTION_ENDED");
    refusal(tell(&world, &ended.subscription_id, Event::Reinstated).await, "SUBSCRIPTION_ENDED");
}

/// ACC-22: one cloud account settles workspaces of several sites.
#[tokio::test(flavor = "multi_thread")]
async fn workspaces_of_two_sites_are_settled_by_one_purchase() {
    let world = World::without_prices().await.unwrap();
    let (own, _) = customer(&world, "two-sites").await;
    let mut elsewhere = world.journey("elsewhere");
    elsewhere.customer.site = Site::Cn3Zhangjiakou.into();
    let owner = elsewhere.register().await.unwrap().console_account_id;
    let create = WorkspaceServiceCreateRequest {
        request_id: fresh(),
        owner_console_account_id: owner,
        name: "Elsewhere".to_owned(),
        site: Site::Cn3Zhangjiakou.into(),
        language: 0,
    };
    let created = world.clients.workspaces.clone().create(create).await.unwrap().into_inner();
    let second = created.workspace.unwrap().workspace_id;
    let bind_request = BindingServiceBindRequest {
        request_id: fresh(),
        workspace_id: second.clone(),
        billing_account_id: own.payer().to_owned(),
        billing_account_code: None,
    };
    world.clients.bindings.clone().bind(bind_request).await.unwrap();
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + time::Duration::HOUR).await.unwrap();
    let (bought, token) = buy(&world, Vendor::AlibabaCloud, "both", "CNY").await;
    bind(&world, own.payer(), Proof::LandingToken(token)).await.unwrap();
    for id in [own.workspace(), second.as_str()] {
        let request = change(id, Some(&bought.subscription_id));
        let changed = world.clients.methods.clone().change(request).await.unwrap().into_inner();
        assert_eq!(changed.settlement_method.unwrap().kind(), Kind::CloudAccount, "{id}");
    }
}
