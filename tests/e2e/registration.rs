//! Registration makes one of each, whatever interrupts it and whoever races.

use chassis::status::{metadata_of, reason_of};
use tallystick_proto::account::v1::registration::{BillingChoice, Plan, State};
use tallystick_proto::account::v1::registration_service_client::RegistrationServiceClient;
use tallystick_proto::account::v1::{
    BillingAccountServiceGetByUsernameRequest, BillingAccountServiceListRequest, CodePurpose,
    ConsoleAccountServiceListRequest, Registration, RegistrationServiceGetRequest,
    RegistrationServiceRegisterRequest, RegistrationServiceResumeRequest,
};
use tallystick_proto::common::v1::{Language, Site, SiteClass, Vendor};
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::settlement_method::{Cause, Kind};
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceBindRequest, CloudAccountServiceResolveRequest, SettlementMethod,
    SettlementMethodServiceChangeRequest, SettlementMethodServiceGetRequest,
    SimulatedMarketplaceServiceSubscribeRequest,
};
use tallystick_proto::workspace::v1::workspace::Plan as WorkspacePlan;
use tallystick_proto::workspace::v1::{
    BindingServiceGetRequest, WorkspaceServiceGetRequest, WorkspaceServiceListRequest,
};
use tests::{PASSWORD, World};
use time::Duration;
use tonic::Code;
use uuid::Uuid;

use crate::bindings::workspace;
use crate::codes::{proof, send_code, to_console, to_payer};
use crate::methods::{buy, tell};
use crate::sessions::{channel, console, payer, sign_in, with_token};

#[tokio::test(flavor = "multi_thread")]
async fn one_call_makes_accounts_workspace_and_binding() {
    let world = World::without_prices().await.unwrap();
    let journey = world.journey("whole");
    let registration = journey.register().await.unwrap();
    assert_eq!(registration.state(), State::Complete);
    let request = BindingServiceGetRequest { workspace_id: registration.workspace_id.clone() };
    let binding = world.clients.bindings.clone().get(request).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(binding.billing_account_id, registration.billing_account_id);
    assert_eq!(binding.currency_code, "CNY");
    let get = || WorkspaceServiceGetRequest { workspace_id: registration.workspace_id.clone() };
    let workspace =
        world.clients.workspaces.clone().get(get()).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(workspace.commercial_time, binding.start_time);
    assert_eq!(workspace.retention_policies.len(), 8);
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::HOUR).await.unwrap();
    let workspace =
        world.clients.workspaces.clone().get(get()).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(workspace.plan(), WorkspacePlan::Commercial);
    let dump = world.dump().await.unwrap();
    assert_eq!(journey.register().await.unwrap(), registration, "asking again answers the same");
    assert_eq!(world.dump().await.unwrap(), dump);
}

fn request(journey: &local::journey::Journey, number: u128) -> RegistrationServiceRegisterRequest {
    RegistrationServiceRegisterRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0001_0000 + number).to_string(),
        site: journey.customer.site,
        email: journey.customer.email.clone(),
        username: journey.customer.username.clone(),
        currency_code: String::new(),
        workspace_name: "Raced".into(),
        password: String::new(),
        ..Default::default()
    }
}

/// A taken user name keeps the console account and waits for another name (DEC-69).
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_user_name_is_told_and_resumed_with_another() {
    let world = World::without_prices().await.unwrap();
    world.journey("owner").register().await.unwrap();
    let mut journey = world.journey("late");
    journey.customer.username = "OWNER-ltd".into();
    let request = request(&journey, 1);
    let status = world.clients.registrations.clone().register(request.clone()).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::AlreadyExists, Some("USERNAME_TAKEN")));
    let registration_id = metadata_of(&status, "registrationId").unwrap();
    let get = RegistrationServiceGetRequest { registration_id: registration_id.clone() };
    let waiting =
        world.clients.registrations.clone().get(get).await.unwrap().into_inner().registration.unwrap();
    assert_eq!(waiting.state(), State::UsernameTaken);
    assert!(waiting.console_account_id.starts_with("acnt_") && waiting.billing_account_id.is_empty());
    let again = world.clients.registrations.clone().register(request).await.unwrap_err();
    assert_eq!(reason_of(&again).as_deref(), Some("USERNAME_TAKEN"));
    let resume = |username: &str| RegistrationServiceResumeRequest {
        registration_id: registration_id.clone(),
        username: username.to_owned(),
        password: tests::PASSWORD.to_owned(),
    };
    let done = world.clients.registrations.clone().resume(resume("late-ltd")).await.unwrap().into_inner();
    let registration = done.registration.unwrap();
    assert_eq!(registration.state(), State::Complete);
    let session = crate::sessions::sign_in(&world, crate::sessions::payer("late-ltd"), tests::PASSWORD).await;
    assert_eq!(session.unwrap().account_id, registration.billing_account_id, "resumed with its password");
    let done = world.clients.registrations.clone().resume(resume("third-ltd")).await.unwrap_err();
    assert_eq!(reason_of(&done).as_deref(), Some("REGISTRATION_COMPLETE"));
    world.clients.registrations.clone().resume(resume("")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_request_id_and_an_unknown_registration_are_refused() {
    let world = World::without_prices().await.unwrap();
    let journey = world.journey("one");
    let good = request(&journey, 2);
    world.clients.registrations.clone().register(good.clone()).await.unwrap();
    let other = RegistrationServiceRegisterRequest { workspace_name: "Other".into(), ..good };
    let status = world.clients.registrations.clone().register(other).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("REQUEST_ID_REUSED"));
    let unknown = format!("regn_{}", Uuid::from_u128(1));
    let get = RegistrationServiceGetRequest { registration_id: unknown.clone() };
    let status = world.clients.registrations.clone().get(get).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let resume = RegistrationServiceResumeRequest {
        registration_id: unknown,
        username: "some-name".into(),
        password: String::new(),
    };
    let status = world.clients.registrations.clone().resume(resume).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

/// Racing for one e-mail and one user name, with own request ids and with a shared one: one account of each.
#[tokio::test(flavor = "multi_thread")]
async fn racing_registrations_end_with_one_account_of_each() {
    let world = World::without_prices().await.unwrap();
    let journey = world.journey("contested");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..40 {
        let request = request(&journey, 10 + number % 20);
        let mut registrations = world.clients.registrations.clone();
        calls.spawn(async move { registrations.register(request).await });
    }
    let answers = calls.join_all().await;
    let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert!(!won.is_empty());
    assert!(won.iter().all(|answer| answer.get_ref() == won[0].get_ref()), "winners are one registration");
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(reason_of(status).as_deref(), Some("EMAIL_TAKEN"), "{status:?}");
    }
    let consoles = world
        .clients
        .console_accounts
        .clone()
        .list(ConsoleAccountServiceListRequest::default())
        .await
        .unwrap();
    assert_eq!(consoles.into_inner().console_accounts.len(), 1);
    let payers = world
        .clients
        .billing_accounts
        .clone()
        .list(BillingAccountServiceListRequest::default())
        .await
        .unwrap();
    assert_eq!(payers.into_inner().billing_accounts.len(), 1);
}

/// A registration of a name, in the given branch.
fn branch(name: &str, number: u128) -> RegistrationServiceRegisterRequest {
    RegistrationServiceRegisterRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0002_0000 + number).to_string(),
        site: Site::Cn1Hangzhou.into(),
        email: format!("{name}@example.com"),
        username: format!("{name}-ltd"),
        workspace_name: name.to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    }
}

async fn registered(
    world: &World,
    request: &RegistrationServiceRegisterRequest,
) -> Result<Registration, tonic::Status> {
    let answer = world.clients.registrations.clone().register(request.clone()).await?;
    Ok(answer.into_inner().registration.unwrap())
}

async fn method(world: &World, workspace_id: &str) -> SettlementMethod {
    let request = SettlementMethodServiceGetRequest { workspace_id: workspace_id.to_owned() };
    world.clients.methods.clone().get(request).await.unwrap().into_inner().settlement_method.unwrap()
}

/// The seed's first question: whoever registered on the official site may settle by its billing account or by a fitting cloud account; whoever came
/// through a marketplace by that vendor only (REGI-8).
#[tokio::test(flavor = "multi_thread")]
async fn the_channel_decides_who_may_settle_how() {
    let world = World::without_prices().await.unwrap();
    let official = registered(&world, &branch("official", 1)).await.unwrap();
    assert_eq!(official.channel(), Vendor::Unspecified);
    assert_eq!(method(&world, &official.workspace_id).await.kind(), Kind::BillingAccount);
    let (bought, token) = buy(&world, Vendor::AlibabaCloud, "official-1", "CNY").await;
    let bind = CloudAccountServiceBindRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0003_0001).to_string(),
        billing_account_id: official.billing_account_id.clone(),
        proof: Some(Proof::LandingToken(token)),
    };
    world.clients.cloud_accounts.clone().bind(bind).await.unwrap();
    let change =
        |workspace_id: &str, subscription: &str, number: u128| SettlementMethodServiceChangeRequest {
            request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0003_0010 + number).to_string(),
            workspace_id: workspace_id.to_owned(),
            kind: if subscription.is_empty() { Kind::BillingAccount } else { Kind::CloudAccount }.into(),
            subscription_id: subscription.to_owned(),
        };
    let by_cloud = change(&official.workspace_id, &bought.subscription_id, 1);
    world.clients.methods.clone().change(by_cloud).await.expect("official: the one or the other");
    let (_, token) = buy(&world, Vendor::AlibabaCloud, "market-1", "CNY").await;
    let request = RegistrationServiceRegisterRequest { landing_token: token, ..branch("market", 2) };
    let market = registered(&world, &request).await.unwrap();
    assert_eq!(market.channel(), Vendor::AlibabaCloud);
    let to_wallet =
        world.clients.methods.clone().change(change(&market.workspace_id, "", 2)).await.unwrap_err();
    assert_eq!(reason_of(&to_wallet).as_deref(), Some("CHANNEL_VENDOR_ONLY"));
    assert_eq!(metadata_of(&to_wallet, "rule").as_deref(), Some("SM-7"));
}

/// The seed's second question: an official registration makes console account, billing account and workspace, and binds them (REGI-5).
#[tokio::test(flavor = "multi_thread")]
async fn official_registration_creates_and_binds_all_three() {
    let world = World::without_prices().await.unwrap();
    let request = branch("three", 1);
    let registration = registered(&world, &request).await.unwrap();
    assert_eq!(registration.state(), State::Complete);
    assert_eq!(
        (registration.plan(), registration.billing_choice()),
        (Plan::Commercial, BillingChoice::Create)
    );
    let get = BindingServiceGetRequest { workspace_id: registration.workspace_id.clone() };
    let binding = world.clients.bindings.clone().get(get).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(binding.billing_account_id, registration.billing_account_id);
    let made = workspace(&world, &registration.workspace_id).await;
    assert_eq!(made.site_class(), SiteClass::China, "the billing system that it belongs to (REG-6)");
    let mail = world.take_mail("three@example.com", "three").await.expect("the owner is told (PLAN-10)");
    assert!(mail.contains("商业版"), "{mail}");
    for identity in [console("three@example.com"), payer("three-ltd")] {
        sign_in(&world, identity, PASSWORD).await.expect("both begin with the same password (ACC-8)");
    }
    let account = BillingAccountServiceGetByUsernameRequest { username: "THREE-ltd".to_owned() };
    let account = world.clients.billing_accounts.clone().get_by_username(account).await.unwrap().into_inner();
    assert_eq!(account.billing_account.unwrap().email, "three@example.com");
}

/// The seed's third question: a customer of a marketplace goes through binding, with a billing account or without one (MK-2, MK-3).
#[tokio::test(flavor = "multi_thread")]
async fn vendor_registration_goes_through_binding() {
    let world = World::without_prices().await.unwrap();
    let (bought, token) = buy(&world, Vendor::AlibabaCloud, "new-1", "CNY").await;
    let request = RegistrationServiceRegisterRequest { landing_token: token.clone(), ..branch("new", 1) };
    let fresh = registered(&world, &request).await.unwrap();
    assert_eq!(fresh.state(), State::Complete);
    assert_eq!(fresh.subscription_id, bought.subscription_id);
    let settled = method(&world, &fresh.workspace_id).await;
    assert_eq!((settled.kind(), settled.cause()), (Kind::CloudAccount, Cause::Activation));
    assert_eq!(settled.billing_account_id, fresh.billing_account_id);
    assert_eq!(registered(&world, &request).await.unwrap(), fresh, "asking again answers the same");
    let stolen = RegistrationServiceRegisterRequest { landing_token: token, ..branch("thief", 2) };
    let refused = registered(&world, &stolen).await.unwrap_err();
    assert!(
        ["LANDING_TOKEN_INVALID", "CLOUD_ACCOUNT_TAKEN"].contains(&reason_of(&refused).unwrap().as_str()),
        "{refused:?}"
    );
    // Another purchase of the same cloud account, by a customer who has both accounts: user name and code, address and code (MK-3).
    let subscribe = SimulatedMarketplaceServiceSubscribeRequest {
        vendor: Vendor::AlibabaCloud.into(),
        cloud_account_id: bought.cloud_account_id.clone(),
        instance_id: "new-2".to_owned(),
        currency_code: "CNY".to_owned(),
    };
    let landed = world.clients.marketplaces.clone().subscribe(subscribe).await.unwrap().into_inner();
    let resolve = CloudAccountServiceResolveRequest { landing_token: landed.landing_token.clone() };
    let resolved = world.clients.cloud_accounts.clone().resolve(resolve).await.unwrap().into_inner();
    assert_eq!(resolved.billing_account_id, fresh.billing_account_id, "MK-1: it is bound already");
    let by_payer = send_code(&world, CodePurpose::Register, (to_payer("new-ltd"), ""), None).await.unwrap();
    let payer_code = world.take_mail("new@example.com", "registering").await.unwrap();
    let by_owner =
        send_code(&world, CodePurpose::Register, (to_console("new@example.com"), ""), None).await.unwrap();
    let owner_code = world.take_mail("new@example.com", "registering").await.unwrap();
    let digits = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6).unwrap().to_owned()
    };
    let request = RegistrationServiceRegisterRequest {
        landing_token: landed.landing_token,
        billing_choice: BillingChoice::Existing.into(),
        billing_account_code: Some(proof(&by_payer, &digits(&payer_code))),
        email_code: Some(proof(&by_owner, &digits(&owner_code))),
        workspace_name: "Second".to_owned(),
        language: Language::En.into(),
        ..branch("new", 3)
    };
    let wrong = RegistrationServiceRegisterRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0002_0099).to_string(),
        email_code: Some(proof(&by_payer, &digits(&payer_code))),
        ..request.clone()
    };
    let refused = registered(&world, &wrong).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("CODE_INVALID"), "another identity's code");
    let second = registered(&world, &request).await.unwrap();
    assert_eq!(second.console_account_id, fresh.console_account_id);
    assert_eq!(second.billing_account_id, fresh.billing_account_id);
    assert_ne!(second.workspace_id, fresh.workspace_id);
    assert_eq!(method(&world, &second.workspace_id).await.kind(), Kind::CloudAccount);
    let list = WorkspaceServiceListRequest {
        billing_account_id: fresh.billing_account_id.clone(),
        ..Default::default()
    };
    let paid = world.clients.workspaces.clone().list(list).await.unwrap().into_inner().workspaces;
    assert_eq!(paid.len(), 2, "WS-2, ACC-3: one payer, many workspaces");
}

/// REGI-4, REGI-7: a trial, with the billing account or without; it is neither bound nor charged.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_is_registered_with_or_without_a_billing_account() {
    let world = World::without_prices().await.unwrap();
    for (number, choice) in [(1, BillingChoice::Create), (2, BillingChoice::None)] {
        let mut request = RegistrationServiceRegisterRequest {
            plan: Plan::Trial.into(),
            billing_choice: choice.into(),
            ..branch(&format!("trial-{number}"), number)
        };
        if choice == BillingChoice::None {
            request.username.clear();
        }
        let registration = registered(&world, &request).await.unwrap();
        assert_eq!(registration.state(), State::Complete);
        assert_eq!(registration.billing_account_id.is_empty(), choice == BillingChoice::None);
        let get = BindingServiceGetRequest { workspace_id: registration.workspace_id.clone() };
        let unbound = world.clients.bindings.clone().get(get).await.unwrap_err();
        assert_eq!(unbound.code(), Code::NotFound);
        sign_in(&world, console(&request.email), PASSWORD).await.unwrap();
    }
}

/// What does not fit together is refused, by field, and begins nothing.
#[tokio::test(flavor = "multi_thread")]
async fn branches_that_do_not_fit_are_refused_and_begin_nothing() {
    let world = World::without_prices().await.unwrap();
    let (_, dollars) = buy(&world, Vendor::Azure, "usd-1", "USD").await;
    let dump = world.dump().await.unwrap();
    type Break = fn(&mut RegistrationServiceRegisterRequest);
    let bad: [(&str, Break); 6] = [
        ("commercial without a billing account", |r| {
            r.billing_choice = BillingChoice::None.into();
            r.username.clear();
        }),
        ("a user name without a billing account", |r| {
            r.plan = Plan::Trial.into();
            r.billing_choice = BillingChoice::None.into();
        }),
        ("an existing billing account without its code", |r| {
            r.billing_choice = BillingChoice::Existing.into()
        }),
        ("a trial from a marketplace", |r| {
            r.plan = Plan::Trial.into();
            r.landing_token = "x".to_owned();
        }),
        ("an unknown choice", |r| r.billing_choice = 9),
        ("an unknown plan", |r| r.plan = 9),
    ];
    for (number, (name, break_it)) in bad.into_iter().enumerate() {
        let mut request = branch("unfit", 10 + u128::try_from(number).unwrap());
        break_it(&mut request);
        let refused = registered(&world, &request).await.expect_err(name);
        assert_eq!(reason_of(&refused).as_deref(), Some("FIELD_INVALID"), "{name}: {refused:?}");
    }
    let forged =
        RegistrationServiceRegisterRequest { landing_token: "forged".to_owned(), ..branch("unfit", 20) };
    let refused = registered(&world, &forged).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("LANDING_TOKEN_INVALID"));
    assert_eq!(world.dump().await.unwrap(), dump);
    let mismatch = RegistrationServiceRegisterRequest {
        landing_token: dollars,
        currency_code: "CNY".to_owned(),
        ..branch("unfit", 21)
    };
    let refused = registered(&world, &mismatch).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("CURRENCY_MISMATCH"), "{refused:?}");
    assert_eq!(metadata_of(&refused, "given").as_deref(), Some("USD"));
    let (ended, token) = buy(&world, Vendor::Aws, "ended-before", "CNY").await;
    tell(&world, &ended.subscription_id, Event::Frozen).await.unwrap();
    let late = RegistrationServiceRegisterRequest { landing_token: token, ..branch("unfit", 22) };
    let refused = registered(&world, &late).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("SUBSCRIPTION_ENDED"), "{refused:?}");
    // Nothing was used up: corrected, the same names and the same token register.
    let corrected = RegistrationServiceRegisterRequest { currency_code: String::new(), ..mismatch };
    let corrected =
        RegistrationServiceRegisterRequest { request_id: branch("unfit", 23).request_id, ..corrected };
    registered(&world, &corrected).await.expect("corrected");
}

/// A payer that agreed to a registration sets no password of its console account.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_sets_no_password_of_the_console_account() {
    let world = World::without_prices().await.unwrap();
    let mut request = branch("no-takeover", 1);
    registered(&world, &request).await.unwrap();
    request = RegistrationServiceRegisterRequest { password: String::new(), ..branch("passwordless", 2) };
    request.billing_choice = BillingChoice::Existing.into();
    request.username = "no-takeover-ltd".to_owned();
    let challenge =
        send_code(&world, CodePurpose::Register, (to_payer("no-takeover-ltd"), ""), None).await.unwrap();
    let code = world.take_code("no-takeover@example.com").await.unwrap();
    request.billing_account_code = Some(proof(&challenge, &code));
    let made = registered(&world, &request).await.unwrap();
    let token = sign_in(&world, payer("no-takeover-ltd"), PASSWORD).await.unwrap().access_token;
    let mut registrations = RegistrationServiceClient::new(channel(&world, "account-svc"));
    let resume = RegistrationServiceResumeRequest {
        registration_id: made.registration_id,
        username: String::new(),
        password: "of the payer".to_owned(),
    };
    let refused = registrations.resume(with_token(resume, &token)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("FIELD_INVALID"), "{refused:?}");
    let refused = sign_in(&world, console("passwordless@example.com"), "of the payer").await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("CREDENTIAL_INVALID"));
}
