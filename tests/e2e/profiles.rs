//! What is known of accounts: changed field by field, found by identity, verified by an operator.

use chassis::status::reason_of;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::{
    BillingAccountServiceGetByUsernameRequest, BillingAccountServiceUpdateRequest,
    BillingAccountServiceVerifyEnterpriseRequest, BillingProfile, ConsoleAccountServiceGetByEmailRequest,
    ConsoleAccountServiceUpdateRequest, Enterprise,
};
use tests::{PASSWORD, World};

use crate::bindings::{id, refusal};
use crate::sessions::{channel, console, payer, sign_in, with_token};

/// ACC-11: what the mask names changes, the rest stays; a repeat is answered alike, another change with its id is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_changes_field_by_field() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("profiled").await.unwrap();
    let token = sign_in(&world, payer("profiled-ltd"), PASSWORD).await.unwrap().access_token;
    let mut accounts = BillingAccountServiceClient::new(channel(&world, "account-svc"));
    let profile = BillingProfile {
        company_name: "测试 Ltd".to_owned(),
        industry: "retail".to_owned(),
        region: "Zhejiang".to_owned(),
        company_description: "sells".to_owned(),
        contact_name: "Li".to_owned(),
    };
    let update = |number, profile: &BillingProfile, paths: &[&str]| BillingAccountServiceUpdateRequest {
        request_id: id(number),
        billing_account_id: own.payer().to_owned(),
        profile: Some(profile.clone()),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    let all = ["company_name", "industry", "region", "company_description", "contact_name"];
    let first = accounts.update(with_token(update(1, &profile, &all), &token)).await.unwrap().into_inner();
    assert_eq!(first.billing_account.unwrap().profile.as_ref(), Some(&profile));
    let other = BillingProfile { contact_name: "Wang".to_owned(), ..BillingProfile::default() };
    let request = update(2, &other, &["contact_name"]);
    let second = accounts.update(with_token(request.clone(), &token)).await.unwrap().into_inner();
    let expected = BillingProfile { contact_name: "Wang".to_owned(), ..profile.clone() };
    assert_eq!(second.billing_account.clone().unwrap().profile, Some(expected));
    let replay = accounts.update(with_token(request, &token)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    assert_eq!(replay.into_inner(), second);
    refusal(accounts.update(with_token(update(2, &profile, &["region"]), &token)).await, "REQUEST_ID_REUSED");
    let dump = world.dump().await.unwrap();
    refusal(accounts.update(with_token(update(3, &profile, &[]), &token)).await, "FIELD_INVALID");
    refusal(accounts.update(with_token(update(3, &profile, &["username"]), &token)).await, "FIELD_INVALID");
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// Each is found by its identity, in any case, and by nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_by_their_identity() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("found").await.unwrap();
    let by_name =
        |username: &str| BillingAccountServiceGetByUsernameRequest { username: username.to_owned() };
    let mut payers = world.clients.billing_accounts.clone();
    let found = payers.get_by_username(by_name("FOUND-ltd")).await.unwrap().into_inner().billing_account;
    assert_eq!(found.unwrap().billing_account_id, own.payer());
    refusal(payers.get_by_username(by_name("found-ltd2")).await, "OBJECT_NOT_FOUND");
    refusal(payers.get_by_username(by_name("a b")).await, "FIELD_INVALID");
    let by_email =
        |email: &str, site| ConsoleAccountServiceGetByEmailRequest { site, email: email.to_owned() };
    let mut consoles = world.clients.console_accounts.clone();
    let found = consoles.get_by_email(by_email("Found@Example.com", 1)).await.unwrap().into_inner();
    let found = found.console_account.unwrap();
    assert_eq!(found.console_account_id, own.registration.console_account_id);
    refusal(consoles.get_by_email(by_email("found@example.com", 2)).await, "OBJECT_NOT_FOUND");
    refusal(consoles.get_by_email(by_email("found", 1)).await, "FIELD_INVALID");
    let token = sign_in(&world, console("found@example.com"), PASSWORD).await.unwrap().access_token;
    let rename = |number, name: &str| ConsoleAccountServiceUpdateRequest {
        request_id: id(number),
        console_account_id: own.registration.console_account_id.clone(),
        display_name: name.to_owned(),
    };
    let mut accounts = ConsoleAccountServiceClient::new(channel(&world, "account-svc"));
    let named = accounts.update(with_token(rename(1, "李"), &token)).await.unwrap().into_inner();
    assert_eq!(named.console_account.unwrap().display_name, "李");
    let replay = accounts.update(with_token(rename(1, "李"), &token)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    refusal(accounts.update(with_token(rename(1, "王"), &token)).await, "REQUEST_ID_REUSED");
    let long = accounts.update(with_token(rename(2, &"x".repeat(200)), &token)).await.unwrap_err();
    assert_eq!(reason_of(&long).as_deref(), Some("FIELD_INVALID"));
}

/// ACC-14: by an operator, with evidence, which is written down.
#[tokio::test(flavor = "multi_thread")]
async fn an_enterprise_is_verified_with_evidence() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("verified").await.unwrap();
    let verify = |number, taxpayer: &str, evidence: &str| BillingAccountServiceVerifyEnterpriseRequest {
        request_id: id(number),
        billing_account_id: own.payer().to_owned(),
        enterprise: Some(Enterprise {
            company_name: "Verified Ltd".to_owned(),
            taxpayer_number: taxpayer.to_owned(),
            verify_time: None,
        }),
        evidence: evidence.to_owned(),
    };
    let mut accounts = world.clients.billing_accounts.clone();
    let dump = world.dump().await.unwrap();
    refusal(accounts.verify_enterprise(verify(1, "91330106MA27Y5XH5K", "")).await, "FIELD_INVALID");
    refusal(accounts.verify_enterprise(verify(1, "x", "licence 7")).await, "FIELD_INVALID");
    assert_eq!(world.dump().await.unwrap(), dump);
    let request = verify(1, "91330106MA27Y5XH5K", "licence 7");
    let answer = accounts.verify_enterprise(request.clone()).await.unwrap().into_inner();
    let enterprise = answer.billing_account.unwrap().enterprise.unwrap();
    assert_eq!(enterprise.taxpayer_number, "91330106MA27Y5XH5K");
    assert!(enterprise.verify_time.is_some());
    let replay = accounts.verify_enterprise(request).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    let reused = verify(1, "91330106MA27Y5XH5L", "licence 7");
    refusal(accounts.verify_enterprise(reused).await, "REQUEST_ID_REUSED");
    let nobody = BillingAccountServiceVerifyEnterpriseRequest {
        billing_account_id: format!("bacc_{}", uuid::Uuid::from_u128(1)),
        ..verify(2, "91330106MA27Y5XH5K", "licence 7")
    };
    refusal(accounts.verify_enterprise(nobody).await, "OBJECT_NOT_FOUND");
}
