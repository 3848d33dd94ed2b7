//! Registration makes one of each, whatever interrupts it and whoever races.

use chassis::status::{metadata_of, reason_of};
use tallystick_proto::account::v1::registration::State;
use tallystick_proto::account::v1::{
    BillingAccountServiceListRequest, ConsoleAccountServiceListRequest, RegistrationServiceGetRequest,
    RegistrationServiceRegisterRequest, RegistrationServiceResumeRequest,
};
use tallystick_proto::workspace::v1::workspace::Plan;
use tallystick_proto::workspace::v1::{BindingServiceGetRequest, WorkspaceServiceGetRequest};
use tests::World;
use time::Duration;
use tonic::Code;
use uuid::Uuid;

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
    assert_eq!(workspace.plan(), Plan::Commercial);
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
