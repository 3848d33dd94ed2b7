//! Who did what to which object: every change and every call of an operator ends in the trail, once.

use std::time::Duration;

use tallystick_proto::account::v1::audit_event::Kind;
use tallystick_proto::account::v1::audit_service_client::AuditServiceClient;
use tallystick_proto::account::v1::session_service_set_password_request::Identity as PasswordOf;
use tallystick_proto::account::v1::{
    AuditEvent, AuditServiceListRequest, AuditServiceRecordRequest, CodePurpose, ConsoleIdentity,
    SessionServiceSetPasswordRequest,
};
use tallystick_proto::common::v1::Site;
use tallystick_proto::settlement::v1::WalletServiceTopUpRequest;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{DataType, WorkspaceServiceSetRetentionRequest};
use tests::{PATIENCE, World, cny};
use tonic::Request;

use crate::bindings::{id, refusal};
use crate::codes::{proof, send_code, to_console};
use crate::sessions::{channel, with_token};
use crate::workspaces::token_of;

/// The events of an object, newest first.
async fn trail(world: &World, object: &str) -> Vec<AuditEvent> {
    let request =
        AuditServiceListRequest { object_id: object.to_owned(), page_size: 1_000, ..Default::default() };
    world.clients.audits.clone().list(request).await.unwrap().into_inner().events
}

/// Waits until the trail of an object has so many events of a method, and answers them, newest first.
async fn until(world: &World, object: &str, method: &str, count: usize) -> Vec<AuditEvent> {
    let wait = async {
        loop {
            let mut found = trail(world, object).await;
            found.retain(|event| event.method == method);
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found =
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {count} of {method}"));
    assert_eq!(found.len(), count, "{method}: {found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_the_call_of_an_operator_are_kept_once_with_who_what_and_which_request() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("audited").await.unwrap();
    let top_up = |amount: &str| WalletServiceTopUpRequest {
        request_id: id(1),
        billing_account_id: own.payer().to_owned(),
        amount: Some(cny(amount)),
        provider: "bank".to_owned(),
        reference: "1".to_owned(),
    };
    let call_id = id(2);
    let mut request = Request::new(top_up("5.00"));
    request.metadata_mut().insert("x-request-id", call_id.parse().unwrap());
    world.clients.wallets.clone().top_up(request).await.unwrap();
    let kept = until(&world, own.payer(), "WalletService/TopUp", 2).await;
    let [change, call] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(
        (change.kind(), call.kind()),
        (Kind::Change, Kind::Call),
        "the call is kept before its change"
    );
    for event in &kept {
        assert_eq!(event.service, "settlement-svc");
        assert!(event.caller.starts_with("OPERATOR:"), "{event:?}");
        assert_eq!(event.call_id, call_id);
        assert_eq!(event.object_ids, [own.payer()]);
        assert!(event.occur_time.is_some());
    }
    assert_eq!((change.request_id.as_str(), call.request_id.as_str()), (id(1).as_str(), ""));

    // A replay and a refusal change nothing; that an operator called is kept all the same.
    world.clients.wallets.clone().top_up(top_up("5.00")).await.unwrap();
    refusal(world.clients.wallets.clone().top_up(top_up("6.00")).await, "REQUEST_ID_REUSED");
    let kept = until(&world, own.payer(), "WalletService/TopUp", 4).await;
    assert_eq!(kept.iter().filter(|event| event.kind() == Kind::Change).count(), 1);
    // So is one that only reads.
    own.journey.balance(own.payer()).await.unwrap();
    let read = until(&world, own.payer(), "WalletService/GetBalance", 1).await;
    assert_eq!(read[0].kind(), Kind::Call);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_customers_change_is_kept_under_their_names() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("changer").await.unwrap();
    let account = own.registration.console_account_id.clone();
    world.clients.advance_to(own.day.start() + time::Duration::HOUR).await.unwrap();
    let token = token_of(&world, "changer@example.com").await;
    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let retention = WorkspaceServiceSetRetentionRequest {
        request_id: id(1),
        workspace_id: own.workspace().to_owned(),
        data_type: DataType::Logs.into(),
        dimension: String::new(),
        days: 14,
    };
    workspaces.set_retention(with_token(retention, &token)).await.unwrap();
    let kept = until(&world, own.workspace(), "WorkspaceService/SetRetention", 1).await;
    assert_eq!((kept[0].caller.as_str(), kept[0].kind()), (format!("USER:{account}").as_str(), Kind::Change));
    // What has no request id of its own is kept as well.
    let registered = until(&world, &account, "RegistrationService/Register", 1).await;
    assert!(registered[0].object_ids.contains(&own.registration.registration_id));
    let challenge =
        send_code(&world, CodePurpose::SetPassword, (to_console("changer@example.com"), ""), None).await;
    let code = world.take_code("changer@example.com").await.unwrap();
    let set = SessionServiceSetPasswordRequest {
        identity: Some(PasswordOf::Console(ConsoleIdentity {
            site: Site::Cn1Hangzhou.into(),
            email: "changer@example.com".to_owned(),
        })),
        code: Some(proof(&challenge.unwrap(), &code)),
        new_password: "another horse battery".to_owned(),
    };
    world.clients.sessions.clone().set_password(set).await.unwrap();
    let set = until(&world, &account, "SessionService/SetPassword", 1).await;
    assert!(!format!("{set:?}").contains("horse"), "what is secret is in no event");
    // What a service does for a customer is kept under the service's name.
    let made = until(&world, own.workspace(), "WorkspaceService/Create", 1).await;
    assert_eq!(made[0].caller, "SERVICE:account-svc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_records_each_event_once_under_its_own_name() {
    let world = World::without_prices().await.unwrap();
    let mut audits = AuditServiceClient::new(channel(&world, "account-svc"));
    let token = world.stack.signers[2].token(&["account-svc"]).unwrap();
    let object = format!("bill_{}", id(70));
    let event = AuditEvent {
        event_id: id(71),
        service: "settlement-svc".to_owned(),
        kind: Kind::Change.into(),
        caller: "USER:somebody".to_owned(),
        method: "BillService/Something".to_owned(),
        object_ids: vec![object.clone()],
        occur_time: Some(chassis::wire::timestamp(world.clients.now().await.unwrap())),
        ..Default::default()
    };
    let record = |events: Vec<AuditEvent>| with_token(AuditServiceRecordRequest { events }, &token);
    for _ in 0..2 {
        audits.record(record(vec![event.clone()])).await.unwrap();
    }
    let kept = trail(&world, &object).await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].service, "billing-svc", "the token says where it happened, not the message");
    let altered = AuditEvent { caller: "USER:nobody".to_owned(), ..event.clone() };
    audits.record(record(vec![altered])).await.unwrap();
    assert_eq!(trail(&world, &object).await, kept, "what is kept stays as it is");
    for wrong in [
        AuditEvent { kind: 0, ..event.clone() },
        AuditEvent { event_id: "x".to_owned(), ..event.clone() },
        AuditEvent { caller: String::new(), ..event.clone() },
        AuditEvent { object_ids: vec!["x".repeat(42)], ..event.clone() },
        AuditEvent { request_id: "x".to_owned(), ..event.clone() },
        AuditEvent { occur_time: None, ..event.clone() },
    ] {
        let sent = AuditEvent { event_id: id(72), ..event.clone() };
        refusal(audits.record(record(vec![sent, wrong])).await, "FIELD_INVALID");
    }
    refusal(audits.record(record(Vec::new())).await, "FIELD_INVALID");
    assert_eq!(trail(&world, &object).await.len(), 1, "a refused batch keeps nothing");
    let list = AuditServiceListRequest { object_id: "x".repeat(42), ..Default::default() };
    refusal(world.clients.audits.clone().list(list).await, "FIELD_INVALID");
}
