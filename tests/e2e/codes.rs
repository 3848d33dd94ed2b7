//! Mailed codes (DEC-68): for one purpose, identity, object and session, once, for ten minutes; and what limits them.

use chassis::status::{metadata_of, reason_of};
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::account::v1::session_service_send_code_request::Identity as SendTo;
use tallystick_proto::account::v1::session_service_set_password_request::Identity as PasswordOf;
use tallystick_proto::account::v1::session_service_sign_in_request::Identity;
use tallystick_proto::account::v1::{
    BillingAccountServiceChangeEmailRequest, BillingAccountServiceChangePhoneRequest, CodePurpose,
    ConsoleAccountServiceChangeEmailRequest, ConsoleAccountServiceChangePhoneRequest, ConsoleIdentity,
    Session, SessionServiceRedeemCodeRequest, SessionServiceSendCodeRequest,
    SessionServiceSetPasswordRequest, SessionServiceSignInRequest,
};
use tallystick_proto::common::v1::{CodeProof, Language, Site};
use tests::{PASSWORD, World};
use time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::sessions::{channel, console, payer, sign_in, with_token};

fn sessions(world: &World) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(channel(world, "account-svc"))
}

pub fn to_console(email: &str) -> Option<SendTo> {
    Some(SendTo::Console(ConsoleIdentity { site: Site::Cn1Hangzhou.into(), email: email.to_owned() }))
}

pub fn to_payer(username: &str) -> Option<SendTo> {
    Some(SendTo::Username(username.to_owned()))
}

/// Asks for a code, as this account or as anybody. Answers the challenge.
pub async fn send_code(
    world: &World,
    purpose: CodePurpose,
    (identity, object): (Option<SendTo>, &str),
    token: Option<&str>,
) -> Result<String, Status> {
    let request = SessionServiceSendCodeRequest {
        purpose: purpose.into(),
        identity,
        object: object.to_owned(),
        language: Language::En.into(),
    };
    let answer = match token {
        Some(token) => sessions(world).send_code(with_token(request, token)).await,
        None => sessions(world).send_code(request).await,
    };
    Ok(answer?.into_inner().challenge)
}

pub fn proof(challenge: &str, code: &str) -> CodeProof {
    CodeProof { challenge: challenge.to_owned(), code: code.to_owned() }
}

async fn by_code(world: &World, identity: Identity, code: CodeProof) -> Result<Session, Status> {
    let request =
        SessionServiceSignInRequest { identity: Some(identity), password: String::new(), code: Some(code) };
    Ok(sessions(world).sign_in(request).await?.into_inner().session.unwrap())
}

fn other(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

async fn wait(world: &World, minutes: i64) {
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::minutes(minutes)).await.unwrap();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, why: &str) {
    let status = answer.expect_err(why);
    assert_eq!(status.code(), Code::Unauthenticated, "{why}: {status:?}");
    assert_eq!(reason_of(&status).as_deref(), Some("CODE_INVALID"), "{why}: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_signs_in_once_and_only_for_what_it_was_sent_for() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("coder").await.unwrap();
    let email = "coder@example.com";
    let challenge = send_code(&world, CodePurpose::SignIn, (to_console(email), ""), None).await.unwrap();
    let code = world.take_code(email).await.unwrap();
    refused(by_code(&world, console(email), proof(&challenge, &other(&code))).await, "a wrong code");
    refused(by_code(&world, payer("coder-ltd"), proof(&challenge, &code)).await, "another identity");
    wait(&world, 1).await;
    let second = send_code(&world, CodePurpose::SignIn, (to_console(email), ""), None).await.unwrap();
    let second_code = world.take_code(email).await.unwrap();
    refused(by_code(&world, console(email), proof(&second, &code)).await, "another session's challenge");
    let set = SessionServiceSetPasswordRequest {
        identity: Some(PasswordOf::Console(ConsoleIdentity {
            site: Site::Cn1Hangzhou.into(),
            email: email.to_owned(),
        })),
        code: Some(proof(&challenge, &code)),
        new_password: "another password".to_owned(),
    };
    refused(sessions(&world).set_password(set).await, "another purpose");
    let session = by_code(&world, console(email), proof(&challenge, &code)).await.unwrap();
    assert_eq!(session.account_id, customer.registration.console_account_id);
    refused(by_code(&world, console(email), proof(&challenge, &code)).await, "used before");
    wait(&world, 10).await;
    refused(by_code(&world, console(email), proof(&second, &second_code)).await, "ten minutes are over");
}

/// For a known and an unknown identity the same is answered, and the same is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_nobody_is_answered_like_one_for_somebody() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("somebody").await.unwrap();
    for (number, name) in ["somebody", "nobody"].into_iter().enumerate() {
        let email = format!("{name}@example.com");
        let challenge = send_code(&world, CodePurpose::SignIn, (to_console(&email), ""), None).await.unwrap();
        assert_eq!(challenge.len(), 43);
        refused(by_code(&world, console(&email), proof(&challenge, "000000")).await, name);
        let again = send_code(&world, CodePurpose::SignIn, (to_console(&email), ""), None).await.unwrap_err();
        assert_eq!(reason_of(&again).as_deref(), Some("CODES_EXHAUSTED"), "{name}");
        assert_eq!(metadata_of(&again, "limit").as_deref(), Some("1"));
        let mut admin = world.scratch.admin().await.unwrap();
        let rows: (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from account.challenges), (select count(*) from account.mails where challenge_id is not null), \
             (select count(*) from account.code_limits where wrong_count = 1)",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        let count = i64::try_from(number).unwrap() + 1;
        assert_eq!(rows, (count, count, count), "{name}");
    }
    world.take_code("somebody@example.com").await.unwrap();
    assert!(world.find_mail("nobody@example.com", "").unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_21st_wrong_code_of_a_day_is_refused_whatever_it_is_and_the_account_is_told() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("guessed").await.unwrap();
    let email = "guessed@example.com";
    let challenge = send_code(&world, CodePurpose::SignIn, (to_console(email), ""), None).await.unwrap();
    let code = world.take_code(email).await.unwrap();
    for number in 1..=20 {
        refused(by_code(&world, console(email), proof(&challenge, &other(&code))).await, &number.to_string());
    }
    for tried in [other(&code), code.clone()] {
        let status = by_code(&world, console(email), proof(&challenge, &tried)).await.unwrap_err();
        assert_eq!(reason_of(&status).as_deref(), Some("TRIES_EXHAUSTED"), "{status:?}");
        assert_eq!(metadata_of(&status, "limit").as_deref(), Some("20"));
    }
    world.take_mail(email, "24").await.expect("a mail tells of the pause");
    // Another purpose does not pause with it, nor does the password.
    sign_in(&world, console(email), PASSWORD).await.unwrap();
    send_code(&world, CodePurpose::SetPassword, (to_console(email), ""), None).await.unwrap();
    wait(&world, 24 * 60).await;
    let challenge = send_code(&world, CodePurpose::SignIn, (to_console(email), ""), None).await.unwrap();
    let text = world.take_mail(email, "signing in").await.unwrap();
    let code = text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6).unwrap();
    by_code(&world, console(email), proof(&challenge, code)).await.expect("a day later it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_codes_a_day_for_an_identity_and_300_from_a_source() {
    let world = World::without_prices().await.unwrap();
    for number in 0..10 {
        wait(&world, 1).await;
        send_code(&world, CodePurpose::SignIn, (to_payer("often-asked"), ""), None)
            .await
            .unwrap_or_else(|status| panic!("{number}: {status:?}"));
    }
    wait(&world, 1).await;
    let refused =
        send_code(&world, CodePurpose::SignIn, (to_payer("often-asked"), ""), None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(metadata_of(&refused, "limit").as_deref(), Some("10"));
    send_code(&world, CodePurpose::SetPassword, (to_payer("often-asked"), ""), None).await.unwrap();
    for number in 11..300 {
        send_code(&world, CodePurpose::SignIn, (to_payer(&format!("name-{number}")), ""), None)
            .await
            .unwrap();
    }
    let refused = send_code(&world, CodePurpose::SignIn, (to_payer("one-more"), ""), None).await.unwrap_err();
    assert_eq!(metadata_of(&refused, "limit").as_deref(), Some("300"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_set_by_code_and_ends_every_session() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("forgot").await.unwrap();
    let before = sign_in(&world, payer("forgot-ltd"), PASSWORD).await.unwrap();
    let to = (to_payer("forgot-ltd"), "");
    let challenge = send_code(&world, CodePurpose::SetPassword, to, None).await.unwrap();
    let code = world.take_code("forgot@example.com").await.unwrap();
    let request = |new_password: &str| SessionServiceSetPasswordRequest {
        identity: Some(PasswordOf::Username("FORGOT-ltd".to_owned())),
        code: Some(proof(&challenge, &code)),
        new_password: new_password.to_owned(),
    };
    let short = sessions(&world).set_password(request("short")).await.unwrap_err();
    assert_eq!(reason_of(&short).as_deref(), Some("FIELD_INVALID"));
    sessions(&world).set_password(request("a new password")).await.unwrap();
    refused(sessions(&world).set_password(request("a third password")).await, "used before");
    let old = sign_in(&world, payer("forgot-ltd"), PASSWORD).await.unwrap_err();
    assert_eq!(reason_of(&old).as_deref(), Some("CREDENTIAL_INVALID"));
    sign_in(&world, payer("forgot-ltd"), "a new password").await.unwrap();
    sign_in(&world, console("forgot@example.com"), PASSWORD)
        .await
        .expect("the other account keeps its own (ACC-8)");
    let refresh =
        tallystick_proto::account::v1::SessionServiceRefreshRequest { refresh_token: before.refresh_token };
    let ended = sessions(&world).refresh(refresh).await.unwrap_err();
    assert_eq!(reason_of(&ended).as_deref(), Some("SESSION_INVALID"));
}

/// ACC-10: codes to the present and to the new address; then the new one is the identity.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_changes_by_codes_to_the_old_and_the_new_one() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("mover").await.unwrap();
    world.customer_with_password("taken").await.unwrap();
    let session = sign_in(&world, console("mover@example.com"), PASSWORD).await.unwrap();
    let token = Some(session.access_token.as_str());
    let new = "Moved@Example.org";
    let ask = async |purpose| send_code(&world, purpose, (None, new), token).await.unwrap();
    let nobody = send_code(&world, CodePurpose::ChangeEmailOld, (None, new), None).await.unwrap_err();
    assert_eq!(reason_of(&nobody).as_deref(), Some("TOKEN_MISSING"));
    let old_challenge = ask(CodePurpose::ChangeEmailOld).await;
    let old_code = world.take_code("mover@example.com").await.unwrap();
    let new_challenge = ask(CodePurpose::ChangeEmailNew).await;
    let new_code = world.take_code("moved@example.org").await.unwrap();
    let request = |new_email: &str, old: CodeProof, new: CodeProof| ConsoleAccountServiceChangeEmailRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001).to_string(),
        console_account_id: customer.registration.console_account_id.clone(),
        new_email: new_email.to_owned(),
        old_email_code: Some(old),
        new_email_code: Some(new),
    };
    let mut accounts = ConsoleAccountServiceClient::new(channel(&world, "account-svc"));
    let mut change = async |request| accounts.change_email(with_token(request, &session.access_token)).await;
    let (old, fresh) = (proof(&old_challenge, &old_code), proof(&new_challenge, &new_code));
    refused(change(request(new, fresh.clone(), fresh.clone())).await, "the new address twice");
    refused(change(request("else@example.org", old.clone(), fresh.clone())).await, "another address");
    let changed = change(request(new, old.clone(), fresh.clone())).await.unwrap().into_inner();
    assert_eq!(changed.console_account.unwrap().email, new);
    let replay = change(request(new, old, fresh)).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    sign_in(&world, console("moved@example.org"), PASSWORD).await.unwrap();
    sign_in(&world, console("mover@example.com"), PASSWORD).await.expect_err("it has moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_or_number_is_refused_and_uses_no_code_up() {
    let world = World::without_prices().await.unwrap();
    let mut ids = Vec::new();
    let mut tokens = Vec::new();
    for name in ["first", "second"] {
        let customer = world.customer_with_password(name).await.unwrap();
        ids.push(customer.registration.console_account_id.clone());
        tokens.push(
            sign_in(&world, console(&format!("{name}@example.com")), PASSWORD).await.unwrap().access_token,
        );
    }
    let mut accounts = ConsoleAccountServiceClient::new(channel(&world, "account-svc"));
    let phone = "+8613800138000";
    for (number, name) in ["first", "second"].into_iter().enumerate() {
        let token = tokens[number].as_str();
        let challenge =
            send_code(&world, CodePurpose::ChangePhone, (None, phone), Some(token)).await.unwrap();
        let code = world.take_code(&format!("{name}@example.com")).await.unwrap();
        let request = ConsoleAccountServiceChangePhoneRequest {
            request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002).to_string(),
            console_account_id: ids[number].clone(),
            new_phone: phone.to_owned(),
            email_code: Some(proof(&challenge, &code)),
        };
        let answer = accounts.change_phone(with_token(request, token)).await;
        if name == "first" {
            assert_eq!(answer.unwrap().into_inner().console_account.unwrap().phone, phone);
        } else {
            let status = answer.unwrap_err();
            assert_eq!(reason_of(&status).as_deref(), Some("PHONE_TAKEN"), "{status:?} (ACC-7)");
        }
    }
    let token = tokens[1].as_str();
    let old = send_code(&world, CodePurpose::ChangeEmailOld, (None, "first@example.com"), Some(token))
        .await
        .unwrap();
    let old_code = world.take_code("second@example.com").await.unwrap();
    let new = send_code(&world, CodePurpose::ChangeEmailNew, (None, "first@example.com"), Some(token))
        .await
        .unwrap();
    let new_code = world.take_code("first@example.com").await.unwrap();
    let request = ConsoleAccountServiceChangeEmailRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003).to_string(),
        console_account_id: ids[1].clone(),
        new_email: "first@example.com".to_owned(),
        old_email_code: Some(proof(&old, &old_code)),
        new_email_code: Some(proof(&new, &new_code)),
    };
    for _ in 0..2 {
        let status = accounts.change_email(with_token(request.clone(), token)).await.unwrap_err();
        assert_eq!(reason_of(&status).as_deref(), Some("EMAIL_TAKEN"), "{status:?}");
    }
}

/// A payer's address is no identity: several may have the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_changes_where_it_is_reached() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("billing").await.unwrap();
    let session = sign_in(&world, payer("billing-ltd"), PASSWORD).await.unwrap();
    let token = session.access_token.as_str();
    let mut accounts = BillingAccountServiceClient::new(channel(&world, "account-svc"));
    let new = "books@example.org";
    let old = send_code(&world, CodePurpose::ChangeEmailOld, (None, new), Some(token)).await.unwrap();
    let old_code = world.take_code("billing@example.com").await.unwrap();
    let fresh = send_code(&world, CodePurpose::ChangeEmailNew, (None, new), Some(token)).await.unwrap();
    let fresh_code = world.take_code(new).await.unwrap();
    let mut request = BillingAccountServiceChangeEmailRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0004).to_string(),
        billing_account_id: customer.payer().to_owned(),
        new_email: new.to_owned(),
        old_email_code: None,
        new_email_code: Some(proof(&fresh, &fresh_code)),
    };
    refused(accounts.change_email(with_token(request.clone(), token)).await, "without the old address");
    request.old_email_code = Some(proof(&old, &old_code));
    let waiting =
        send_code(&world, CodePurpose::SetPassword, (to_payer("billing-ltd"), ""), None).await.unwrap();
    let waiting_code = world.take_code("billing@example.com").await.unwrap();
    let changed = accounts.change_email(with_token(request, token)).await.unwrap().into_inner();
    assert_eq!(changed.billing_account.unwrap().email, new);
    let set = SessionServiceSetPasswordRequest {
        identity: Some(PasswordOf::Username("billing-ltd".to_owned())),
        code: Some(proof(&waiting, &waiting_code)),
        new_password: "of whoever reads the old address".to_owned(),
    };
    refused(sessions(&world).set_password(set).await, "it went to the address that was left");
    let phone = "+8613800138000";
    let challenge = send_code(&world, CodePurpose::ChangePhone, (None, phone), Some(token)).await.unwrap();
    let code = world.take_code(new).await.expect("codes go to the new address now");
    let request = BillingAccountServiceChangePhoneRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0005).to_string(),
        billing_account_id: customer.payer().to_owned(),
        new_phone: phone.to_owned(),
        email_code: Some(proof(&challenge, &code)),
    };
    let changed = accounts.change_phone(with_token(request, token)).await.unwrap().into_inner();
    assert_eq!(changed.billing_account.unwrap().phone, phone);
}

/// A code for binding is bound to the workspace and to whoever asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_binding_is_for_one_workspace_and_one_requester() {
    let world = World::without_prices().await.unwrap();
    let payer = world.customer_with_password("payer").await.unwrap();
    let owner = world.customer_with_password("owner").await.unwrap();
    let token = sign_in(&world, console("owner@example.com"), PASSWORD).await.unwrap().access_token;
    let object = owner.workspace();
    let to = || (to_payer("payer-ltd"), object);
    let anybody = send_code(&world, CodePurpose::BindWorkspace, to(), None).await.unwrap_err();
    assert_eq!(reason_of(&anybody).as_deref(), Some("TOKEN_MISSING"));
    let challenge = send_code(&world, CodePurpose::BindWorkspace, to(), Some(&token)).await.unwrap();
    let code = world.take_code("payer@example.com").await.unwrap();
    let good = SessionServiceRedeemCodeRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0006).to_string(),
        billing_account_id: payer.payer().to_owned(),
        workspace_id: object.to_owned(),
        account_id: owner.registration.console_account_id.clone(),
        code: Some(proof(&challenge, &code)),
    };
    let workspace_svc = world.stack.signers[1].token(&["account-svc"]).unwrap();
    let redeem = async |request| sessions(&world).redeem_code(with_token(request, &workspace_svc)).await;
    let wrong: [(&str, SessionServiceRedeemCodeRequest); 3] = [
        (
            "another workspace",
            SessionServiceRedeemCodeRequest { workspace_id: payer.workspace().into(), ..good.clone() },
        ),
        (
            "another requester",
            SessionServiceRedeemCodeRequest {
                account_id: payer.registration.console_account_id.clone(),
                ..good.clone()
            },
        ),
        (
            "another payer",
            SessionServiceRedeemCodeRequest { billing_account_id: owner.payer().into(), ..good.clone() },
        ),
    ];
    for (why, request) in wrong {
        refused(redeem(request).await, why);
    }
    redeem(good.clone()).await.unwrap();
    redeem(good.clone()).await.expect("the same request again");
    let request_id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007).to_string();
    refused(redeem(SessionServiceRedeemCodeRequest { request_id, ..good }).await, "another request");
}
