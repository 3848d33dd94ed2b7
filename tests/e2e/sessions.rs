//! Signing in: by e-mail or user name alone, with a password; tokens that end, keys that rotate, refresh tokens that work once.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chassis::auth::{Holder, Signer};
use chassis::status::{metadata_of, reason_of};
use sqlx::Connection as _;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::account::v1::session_service_sign_in_request::Identity;
use tallystick_proto::account::v1::{
    BillingAccountServiceGetRequest, ConsoleIdentity, Session, SessionServiceGetKeysRequest,
    SessionServiceRefreshRequest, SessionServiceRevokeRequest, SessionServiceRotateKeyRequest,
    SessionServiceSignInRequest,
};
use tallystick_proto::common::v1::Site;
use tests::{PASSWORD, World};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub fn channel(world: &World, service: &str) -> Channel {
    Endpoint::from_str(&world.stack.uri(service).unwrap()).unwrap().connect_lazy()
}

pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub fn console(email: &str) -> Identity {
    Identity::Console(ConsoleIdentity { site: Site::Cn1Hangzhou.into(), email: email.to_owned() })
}

pub fn payer(username: &str) -> Identity {
    Identity::Username(username.to_owned())
}

/// Signs in without any token of one's own, as anybody can.
pub async fn sign_in(world: &World, identity: Identity, password: &str) -> Result<Session, Status> {
    let mut sessions = SessionServiceClient::new(channel(world, "account-svc"));
    let request =
        SessionServiceSignInRequest { identity: Some(identity), password: password.to_owned(), code: None };
    Ok(sessions.sign_in(request).await?.into_inner().session.unwrap())
}

async fn read_self(world: &World, account_id: &str, token: &str) -> Result<(), Status> {
    let mut accounts = BillingAccountServiceClient::new(channel(world, "account-svc"));
    let request = BillingAccountServiceGetRequest { billing_account_id: account_id.to_owned() };
    accounts.get(with_token(request, token)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn email_and_user_name_are_each_the_sole_credential() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("alice").await.unwrap();
    let console_session = sign_in(&world, console(" Alice@Example.COM "), PASSWORD).await.unwrap();
    assert_eq!(console_session.account_id, customer.registration.console_account_id);
    let payer_session = sign_in(&world, payer("ALICE-ltd"), PASSWORD).await.unwrap();
    assert_eq!(payer_session.account_id, customer.payer());
    read_self(&world, customer.payer(), &payer_session.access_token).await.unwrap();
    let other_half = read_self(&world, customer.payer(), &console_session.access_token).await.unwrap_err();
    assert_eq!(other_half.code(), Code::NotFound, "the two kinds of account are independent");
    // The name of the one is no identity of the other, and an address belongs to its site.
    let elsewhere = ConsoleIdentity { site: Site::Us1Oregon.into(), email: "alice@example.com".into() };
    for wrong in [payer("alice@example.com"), Identity::Console(elsewhere), console("alice-ltd@example.com")]
    {
        let refused = sign_in(&world, wrong.clone(), PASSWORD).await.unwrap_err();
        assert!(
            matches!(refused.code(), Code::Unauthenticated | Code::InvalidArgument),
            "{wrong:?}: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_identity_and_a_wrong_password_answer_alike_and_pause_alike() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("known").await.unwrap();
    world.journey("nopassword").register().await.unwrap();
    let mut answers = Vec::new();
    for identity in
        [payer("known-ltd"), payer("unknown-ltd"), payer("nopassword-ltd"), console("no@example.com")]
    {
        for number in 0..20 {
            let refused = sign_in(&world, identity.clone(), &format!("wrong {number}")).await.unwrap_err();
            assert_eq!(reason_of(&refused).as_deref(), Some("CREDENTIAL_INVALID"), "{number}");
            answers.push((refused.code(), refused.message().to_owned()));
        }
        // The 21st, right or wrong.
        for password in ["wrong", PASSWORD] {
            let paused = sign_in(&world, identity.clone(), password).await.unwrap_err();
            assert_eq!(paused.code(), Code::ResourceExhausted);
            assert_eq!(reason_of(&paused).as_deref(), Some("TRIES_EXHAUSTED"));
            assert_eq!(metadata_of(&paused, "limit").as_deref(), Some("20"));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    sign_in(&world, console("known@example.com"), PASSWORD)
        .await
        .expect("another identity does not pause with it");
    let mut admin = world.scratch.admin().await.unwrap();
    let later = "update account.sign_in_tries set since = since - interval '1 day'";
    sqlx::query(later).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    sign_in(&world, payer("known-ltd"), PASSWORD).await.expect("a day later it goes on");
}

/// A client that does not wait for its answer has not tried a wrong password.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_given_up_leaves_no_wrong_try() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("hasty").await.unwrap();
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let mut given_up = 0;
    for number in 0..30 {
        let request = SessionServiceSignInRequest {
            identity: Some(payer("hasty-ltd")),
            password: PASSWORD.to_owned(),
            code: None,
        };
        let patience = std::time::Duration::from_millis(2 * number);
        given_up += usize::from(tokio::time::timeout(patience, sessions.sign_in(request)).await.is_err());
    }
    assert!(given_up >= 10, "{given_up}");
    let mut admin = world.scratch.admin().await.unwrap();
    let wait = async {
        let counted = "select coalesce(sum(wrong_count), 0) from account.sign_in_tries";
        while sqlx::query_scalar::<_, i64>(counted).fetch_one(&mut admin).await.unwrap() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, wait).await.expect("tries of given-up calls are given back");
    sign_in(&world, payer("hasty-ltd"), PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_any_more_is_removed_and_nothing_else() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("pruned").await.unwrap();
    sign_in(&world, payer("unknown-old"), "wrong").await.unwrap_err();
    let old = sign_in(&world, payer("pruned-ltd"), PASSWORD).await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    let past = "update account.sign_in_tries set since = since - interval '2 days'; \
                update account.refresh_tokens set issued_at = issued_at - interval '40 days', expires_at = expires_at - interval '40 days'; \
                update account.sessions set created_at = created_at - interval '40 days'";
    sqlx::raw_sql(past).execute(&mut admin).await.unwrap();
    sign_in(&world, payer("unknown-new"), "wrong").await.unwrap_err();
    let new = sign_in(&world, console("pruned@example.com"), PASSWORD).await.unwrap();
    // The worker looks when the service starts.
    let world = world.restart().await.unwrap();
    let wait = async {
        let left =
            "select (select count(*) from account.sessions) + (select count(*) from account.refresh_tokens)";
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut admin).await.unwrap() != 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, wait).await.expect("the old session goes, the new one stays");
    let tries: i64 = sqlx::query_scalar(
        "select count(*) from account.sign_in_tries where since < now() - interval '1 day'",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(tries, 0);
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let mut refresh =
        async |token: String| sessions.refresh(SessionServiceRefreshRequest { refresh_token: token }).await;
    assert_eq!(reason_of(&refresh(old.refresh_token).await.unwrap_err()).as_deref(), Some("SESSION_INVALID"));
    refresh(new.refresh_token).await.expect("a session outlives a restart and another secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_at_once_are_not_more_than_tries_in_turn() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("raced").await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let channel = channel(&world, "account-svc");
        tries.spawn(async move {
            let request = SessionServiceSignInRequest {
                identity: Some(payer("raced-ltd")),
                password: "wrong".to_owned(),
                code: None,
            };
            reason_of(&SessionServiceClient::new(channel).sign_in(request).await.unwrap_err()).unwrap()
        });
    }
    let reasons = tries.join_all().await;
    let of = |reason: &str| reasons.iter().filter(|other| *other == reason).count();
    assert_eq!((of("CREDENTIAL_INVALID"), of("TRIES_EXHAUSTED")), (20, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_and_the_second_time_ends_the_session() {
    let world = World::without_prices().await.unwrap();
    world.customer_with_password("renewed").await.unwrap();
    let first = sign_in(&world, payer("renewed-ltd"), PASSWORD).await.unwrap();
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let mut refresh = async |token: &str| {
        let request = SessionServiceRefreshRequest { refresh_token: token.to_owned() };
        sessions.refresh(request).await.map(|answer| answer.into_inner().session.unwrap())
    };
    let second = refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.account_id, first.account_id);
    read_self(&world, &second.account_id, &second.access_token).await.unwrap();
    let third = refresh(&second.refresh_token).await.unwrap();
    let stolen = refresh(&first.refresh_token).await.unwrap_err();
    assert_eq!(reason_of(&stolen).as_deref(), Some("SESSION_INVALID"));
    let ended = refresh(&third.refresh_token).await.unwrap_err();
    assert_eq!(reason_of(&ended).as_deref(), Some("SESSION_INVALID"), "the thief's and the owner's alike");
    let unknown = refresh(&"A".repeat(43)).await.unwrap_err();
    assert_eq!(reason_of(&unknown).as_deref(), Some("SESSION_INVALID"));
    let malformed = refresh("short").await.unwrap_err();
    assert_eq!(reason_of(&malformed).as_deref(), Some("FIELD_INVALID"));

    let revoked = sign_in(&world, payer("renewed-ltd"), PASSWORD).await.unwrap();
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let request = SessionServiceRevokeRequest { refresh_token: revoked.refresh_token.clone() };
    sessions.revoke(request.clone()).await.unwrap();
    sessions.revoke(request).await.expect("it stays so");
    let request = SessionServiceRefreshRequest { refresh_token: revoked.refresh_token };
    assert_eq!(reason_of(&sessions.refresh(request).await.unwrap_err()).as_deref(), Some("SESSION_INVALID"));
    let request = SessionServiceRevokeRequest { refresh_token: "A".repeat(43) };
    assert_eq!(reason_of(&sessions.revoke(request).await.unwrap_err()).as_deref(), Some("SESSION_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_tokens_that_are_not_right_are_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let world = World::without_prices().await.unwrap();
    let customer = world.customer_with_password("tokens").await.unwrap();
    let token = sign_in(&world, payer("tokens-ltd"), PASSWORD).await.unwrap().access_token;
    read_self(&world, customer.payer(), &token).await.unwrap();
    let header = token.split('.').next().unwrap();
    let header: String = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let kid = header.split("\"kid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let claims = token.split('.').nth(1).unwrap();
    let impostor = Signer::new(kid, customer.payer(), &Signer::generate_secret().unwrap()).unwrap();
    let unknown = Signer::new("user-x", customer.payer(), &Signer::generate_secret().unwrap()).unwrap();
    let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{kid}"}}"#));
    let signature = token.rsplit('.').next().unwrap();
    let tampered = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let tampered = String::from_utf8(tampered)
        .unwrap()
        .replace(customer.payer(), "bacc_01900000-0000-7000-8000-000000000000");
    let tampered =
        format!("{}.{}.{signature}", token.split('.').next().unwrap(), URL_SAFE_NO_PAD.encode(tampered));
    for (what, bad) in [
        ("wrong key", impostor.token(&["account-svc"]).unwrap()),
        ("unknown key", unknown.token(&["account-svc"]).unwrap()),
        ("alg=none", format!("{none}.{claims}.")),
        ("tampered", tampered),
        ("a service that calls itself a user", world.stack.signers[0].token(&["workspace-svc"]).unwrap()),
    ] {
        let refused = read_self(&world, customer.payer(), &bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}: {refused:?}");
        assert_eq!(reason_of(&refused).as_deref(), Some("TOKEN_INVALID"), "{what}");
    }
    // A key that is published makes users only, whatever its tokens say of their subject.
    assert!(world.stack.keys.iter().all(|key| key.holder != Holder::Service(kid.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_a_failed_call() {
    let world = Arc::new(World::without_prices().await.unwrap());
    let customer = world.customer_with_password("rotated").await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let account = customer.payer().to_owned();
    let calling = {
        let (world, done, calls, account) =
            (Arc::clone(&world), Arc::clone(&done), Arc::clone(&calls), account.clone());
        tokio::spawn(async move {
            let mut tokens = Vec::new();
            while !done.load(Ordering::SeqCst) {
                tokens.push(sign_in(&world, payer("rotated-ltd"), PASSWORD).await?.access_token);
                for token in tokens.iter().rev().take(3) {
                    read_self(&world, &account, token).await?;
                    // Another service, which reads the published keys over the wire.
                    let mut wallets =
                        tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient::new(
                            channel(&world, "settlement-svc"),
                        );
                    let request = tallystick_proto::settlement::v1::WalletServiceGetBalanceRequest {
                        billing_account_id: account.clone(),
                    };
                    wallets.get_balance(with_token(request, token)).await?;
                    calls.fetch_add(2, Ordering::SeqCst);
                }
            }
            Ok::<_, Status>(tokens)
        })
    };
    let mut seen = std::collections::HashSet::new();
    for _ in 0..5 {
        let before = calls.load(Ordering::SeqCst);
        let key = world.clients.sessions.clone().rotate_key(SessionServiceRotateKeyRequest {}).await.unwrap();
        seen.insert(key.into_inner().key.unwrap().key_id);
        while calls.load(Ordering::SeqCst) < before + 8 && !calling.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    done.store(true, Ordering::SeqCst);
    let tokens = calling.await.unwrap().expect("a call failed while keys rotated");
    assert_eq!(seen.len(), 5);
    read_self(&world, &account, &tokens[0]).await.expect("the first key's token holds until it ends");
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let published = sessions.get_keys(SessionServiceGetKeysRequest {}).await.unwrap().into_inner().keys;
    assert!(published.len() >= 6, "{published:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_behalf_of_a_user_may_no_more_than_both() {
    let world = World::without_prices().await.unwrap();
    let ann = world.customer_with_password("behalf-a").await.unwrap();
    let bob = world.customer_with_password("behalf-b").await.unwrap();
    let user = sign_in(&world, payer("behalf-a-ltd"), PASSWORD).await.unwrap().access_token;
    let service = world.stack.signers[2].token(&["account-svc"]).unwrap();
    let mut accounts = BillingAccountServiceClient::new(channel(&world, "account-svc"));
    let mut read = async |id: &str, on_behalf: &str| {
        let request = BillingAccountServiceGetRequest { billing_account_id: id.to_owned() };
        let mut request = with_token(request, &service);
        request.metadata_mut().insert("x-on-behalf-of", format!("Bearer {on_behalf}").parse().unwrap());
        accounts.get(request).await.map(drop)
    };
    read(ann.payer(), &user).await.unwrap();
    assert_eq!(read(bob.payer(), &user).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(read(ann.payer(), "nonsense").await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(read(ann.payer(), &service).await.unwrap_err().code(), Code::Unauthenticated);
}

/// Calls at once: one fewer than a service of these worlds has connections, so that what is tested is the race and not the wait for one.
const RACERS: usize = 7;

/// Names are reserved before anything is hashed, so a loser costs nothing: ten thousand races, one hundred accounts of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_racing_registrations_make_one_hundred_accounts_of_each_kind() {
    use tallystick_proto::account::v1::RegistrationServiceRegisterRequest;
    let world = World::without_prices().await.unwrap();
    let at_once = Arc::new(tokio::sync::Semaphore::new(RACERS));
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..10_000_u128 {
        let name = number % 100;
        // Of the hundred calls for a name every tenth repeats the request of another one.
        let request_id = uuid::Uuid::from_u128(1 + name * 1_000 + (number / 100) % 90);
        let request = RegistrationServiceRegisterRequest {
            request_id: request_id.to_string(),
            site: Site::Cn1Hangzhou.into(),
            email: format!("race{name}@example.com"),
            username: format!("race-{name:03}"),
            currency_code: "CNY".into(),
            workspace_name: "Race".into(),
            password: PASSWORD.into(),
            ..Default::default()
        };
        let (at_once, mut registrations) = (Arc::clone(&at_once), world.clients.registrations.clone());
        calls.spawn(async move {
            let _permit = at_once.acquire_owned().await.unwrap();
            let answer = loop {
                match registrations.register(request.clone()).await {
                    // What is told to repeat repeats, with the same request id, as any client does.
                    Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => {}
                    answer => break answer,
                }
            };
            (name, request_id, answer.map(|answer| answer.into_inner().registration.unwrap()))
        });
    }
    let mut winners = std::collections::BTreeMap::new();
    let mut losers = 0;
    for (name, request_id, answer) in calls.join_all().await {
        match answer {
            Ok(registration) => {
                let first = winners.entry(name).or_insert((request_id, registration.registration_id.clone()));
                assert_eq!(
                    *first,
                    (request_id, registration.registration_id),
                    "a winner is one registration"
                );
            }
            Err(status) => {
                assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
                losers += 1;
            }
        }
    }
    assert_eq!(winners.len(), 100);
    assert!(losers > 9_000, "{losers}");
    let mut admin = world.scratch.admin().await.unwrap();
    for table in
        ["account.console_accounts", "account.billing_accounts", "workspace.workspaces", "workspace.bindings"]
    {
        let sql = format!("select count(*) from {table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut admin).await.unwrap();
        assert_eq!(count, 100, "{table}");
    }
    let hashes: i64 =
        sqlx::query_scalar("select count(distinct password_hash) from account.billing_accounts")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert_eq!(hashes, 100);
    admin.close().await.unwrap();
    sign_in(&world, payer("race-042"), PASSWORD).await.unwrap();
}
