//! Accounts are closed for good when nothing hangs on them any more; each precondition that fails says its name, and changes nothing.

use chassis::civil::UsageDate;
use chassis::status::metadata_of;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::account::v1::{
    AccountState, BillingAccount, BillingAccountServiceCloseRequest, ConsoleAccount,
    ConsoleAccountServiceCloseRequest, ConsoleAccountServiceUpdateRequest, SessionServiceRefreshRequest,
};
use tallystick_proto::common::v1::Vendor;
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::settlement::v1::{
    WalletServiceGrantVoucherRequest, WalletServiceListEntriesRequest, WalletServiceTopUpRequest,
};
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, BindingServiceRebindRequest, BindingServiceUnbindRequest,
    MemberServiceListRequest, UsageServiceIngestBatchRequest, WorkspaceServiceDissolveRequest, member::Role,
};
use tests::{PASSWORD, Settled, World, cny};
use time::Duration;
use tonic::Status;

use crate::bindings::{id, refusal};
use crate::methods::{bind, buy, tell};
use crate::sessions::{channel, console, payer, sign_in, with_token};
use crate::workspaces::{add_member, token_of};

fn close(account: &str, request: u128, ticket: &str) -> BillingAccountServiceCloseRequest {
    BillingAccountServiceCloseRequest {
        request_id: id(request),
        billing_account_id: account.to_owned(),
        ticket: ticket.to_owned(),
    }
}

async fn closed(world: &World, account: &str, request: u128) -> Result<BillingAccount, Status> {
    let request = close(account, request, "ticket 815");
    Ok(world.clients.billing_accounts.clone().close(request).await?.into_inner().billing_account.unwrap())
}

/// Refused for this precondition; the account is open afterwards, and not a row is another.
async fn cannot_close(world: &World, account: &str, precondition: &str) {
    let before = world.dump().await.unwrap();
    let status = refusal(closed(world, account, 100).await, "CLOSING_REFUSED");
    assert_eq!(metadata_of(&status, "precondition").as_deref(), Some(precondition), "{status:?}");
    assert_eq!(world.dump().await.unwrap(), before, "{precondition} changed something");
}

async fn use_something(world: &World, customer: &Settled) {
    let at = customer.day.start() + Duration::HOUR;
    world.clients.advance_to(at).await.unwrap();
    let records = vec![customer.record("one", 60, ("pv", "", "100000"))];
    let request = UsageServiceIngestBatchRequest { records };
    let answer = world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
    assert_eq!(answer.accepted_count, 1, "{answer:?}");
}

async fn bill(customer: &Settled, day: UsageDate) {
    let run = customer.journey.run_bills(day).await.unwrap();
    assert_eq!(run.failed_count, 0);
    customer.journey.settled_bill(customer.workspace(), day).await.unwrap();
}

/// ACC-19, DEC-74: every precondition in turn, until none is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_closed_when_nothing_is_bound_billed_or_owed_any_more() {
    let world = World::new().await.unwrap();
    let own = world.customer_with_password("leaver").await.unwrap();
    use_something(&world, &own).await;
    cannot_close(&world, own.payer(), "WORKSPACE_BOUND").await;
    let unbind = BindingServiceUnbindRequest { request_id: id(1), workspace_id: own.workspace().to_owned() };
    world.clients.bindings.clone().unbind(unbind).await.unwrap();
    cannot_close(&world, own.payer(), "WORKSPACE_BOUND").await;
    world.clients.advance_to(own.day.end() + Duration::hours(2)).await.unwrap();
    cannot_close(&world, own.payer(), "DAY_NOT_SEALED").await;
    let days = [own.day.plus_days(-1), own.day];
    for day in days {
        own.journey.seal(day).await.unwrap();
    }
    cannot_close(&world, own.payer(), "DAY_NOT_BILLED").await;
    bill(&own, days[0]).await;
    cannot_close(&world, own.payer(), "DAY_NOT_BILLED").await;
    bill(&own, days[1]).await;
    unsettled(&world, own.payer()).await;
    cannot_close(&world, own.payer(), "ARREARS_OUTSTANDING").await;
    own.journey.top_up(own.payer(), cny("50.00")).await.unwrap();
    own.journey.grant_voucher(own.payer(), cny("7.00"), own.day).await.unwrap();
    let (bought, token) = buy(&world, Vendor::AlibabaCloud, "i-leaver", "CNY").await;
    bind(&world, own.payer(), Proof::LandingToken(token)).await.unwrap();

    let account = closed(&world, own.payer(), 100).await.unwrap();
    assert_eq!(account.state(), AccountState::Closed);
    assert_eq!((account.username.as_str(), account.email.as_str()), ("leaver-ltd", ""));
    nothing_is_left(&world, &own, &bought.subscription_id).await;
    let again = world.clients.billing_accounts.clone().close(close(own.payer(), 100, "ticket 815")).await;
    assert!(again.unwrap().metadata().contains_key("idempotent-replay"));
    let reused = world.clients.billing_accounts.clone().close(close(own.payer(), 100, "another")).await;
    refusal(reused, "REQUEST_ID_REUSED");
    assert_eq!(closed(&world, own.payer(), 101).await.unwrap(), account, "closing what is closed answers it");
    refusal(closed(&world, "bacc_00000000-0000-0000-0000-000000000009", 102).await, "OBJECT_NOT_FOUND");
    refusal(world.clients.billing_accounts.clone().close(close(own.payer(), 103, "")).await, "FIELD_INVALID");
    world.reconcile().await.unwrap();
}

/// A bill whose settlement has not arrived: it is taken away for a moment.
async fn unsettled(world: &World, account: &str) {
    let mut admin = world.scratch.admin().await.unwrap();
    for sql in [
        "create table billing.kept as select * from billing.bill_settlements",
        "delete from billing.bill_settlements",
    ] {
        sqlx::query(sql).execute(&mut admin).await.unwrap();
    }
    cannot_close(world, account, "BILL_NOT_SETTLED").await;
    for sql in ["insert into billing.bill_settlements select * from billing.kept", "drop table billing.kept"]
    {
        sqlx::query(sql).execute(&mut admin).await.unwrap();
    }
}

/// What was left is void, nothing comes to the account any more, and what it had at a vendor is free.
async fn nothing_is_left(world: &World, own: &Settled, subscription: &str) {
    let balance = own.journey.balance(own.payer()).await.unwrap();
    assert_eq!((balance.cash, balance.vouchers), (Some(cny("0.00")), Some(cny("0.00"))));
    let entries =
        WalletServiceListEntriesRequest { billing_account_id: own.payer().to_owned(), ..Default::default() };
    let entries = world.clients.wallets.clone().list_entries(entries).await.unwrap().into_inner().entries;
    let voided: Vec<_> = entries.iter().filter(|entry| entry.code == "VOID").collect();
    assert_eq!(voided.len(), 2, "cash and voucher: {entries:?}");
    assert!(voided.iter().all(|entry| entry.credit_account == "BREAKAGE"));
    refusal(sign_in(world, payer("leaver-ltd"), PASSWORD).await, "CREDENTIAL_INVALID");
    let top_up = WalletServiceTopUpRequest {
        request_id: id(50),
        billing_account_id: own.payer().to_owned(),
        amount: Some(cny("1.00")),
        provider: "bank".to_owned(),
        reference: "too-late".to_owned(),
    };
    refusal(world.clients.wallets.clone().top_up(top_up).await, "ACCOUNT_CLOSED");
    let grant = WalletServiceGrantVoucherRequest {
        request_id: id(51),
        billing_account_id: own.payer().to_owned(),
        face_value: Some(cny("1.00")),
        last_date: Some(chassis::wire::date(own.day.plus_days(30))),
        grant_reason: "too late".to_owned(),
    };
    refusal(world.clients.wallets.clone().grant_voucher(grant).await, "ACCOUNT_CLOSED");
    let again = BindingServiceBindRequest {
        request_id: id(52),
        workspace_id: own.workspace().to_owned(),
        billing_account_id: own.payer().to_owned(),
        billing_account_code: None,
    };
    refusal(world.clients.bindings.clone().bind(again).await, "ACCOUNT_CLOSED");
    let heir = world.customer("heir").await.unwrap();
    let rebind = BindingServiceRebindRequest {
        request_id: id(53),
        workspace_id: heir.workspace().to_owned(),
        billing_account_id: own.payer().to_owned(),
        billing_account_code: None,
    };
    refusal(world.clients.bindings.clone().rebind(rebind).await, "ACCOUNT_CLOSED");
    let (_, token) = buy(world, Vendor::AlibabaCloud, "i-more", "CNY").await;
    refusal(bind(world, own.payer(), Proof::LandingToken(token)).await, "ACCOUNT_CLOSED");
    let (_, token) = buy(world, Vendor::AlibabaCloud, "i-leaver", "CNY").await;
    let bound = bind(world, heir.payer(), Proof::LandingToken(token)).await.unwrap();
    assert_eq!(bound.subscription_id, subscription, "another may have what is still active");
    tell(world, subscription, Event::Closed).await.unwrap();
}

/// ACC-20: whoever owns nothing may go, with all its memberships; the address is free, the account is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_console_account_is_closed_when_it_owns_nothing() {
    let world = World::new().await.unwrap();
    let host = world.customer_with_password("host").await.unwrap();
    let own = world.customer_with_password("goer").await.unwrap();
    let account = own.registration.console_account_id.clone();
    let host_token = token_of(&world, "host@example.com").await;
    add_member(&world, (host.workspace(), &account), Role::Standard, false, 60).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::HOUR).await.unwrap();
    let session = sign_in(&world, console("goer@example.com"), PASSWORD).await.unwrap();
    let mut accounts = ConsoleAccountServiceClient::new(channel(&world, "account-svc"));
    let close = |number| {
        let request =
            ConsoleAccountServiceCloseRequest { request_id: id(number), console_account_id: account.clone() };
        with_token(request, &session.access_token)
    };
    let rename = |token: &str| {
        let request = ConsoleAccountServiceUpdateRequest {
            request_id: id(61),
            console_account_id: account.clone(),
            display_name: "Somebody".to_owned(),
        };
        with_token(request, token)
    };
    accounts.update(rename(&session.access_token)).await.unwrap();
    let before = world.dump().await.unwrap();
    let status = refusal(accounts.close(close(1)).await, "CLOSING_REFUSED");
    assert_eq!(metadata_of(&status, "precondition").as_deref(), Some("WORKSPACE_OWNED"));
    assert_eq!(world.dump().await.unwrap(), before, "a refusal changes nothing");
    refusal(accounts.close(with_token(close(2).into_inner(), &host_token)).await, "OBJECT_NOT_FOUND");

    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let dissolve =
        WorkspaceServiceDissolveRequest { request_id: id(3), workspace_id: own.workspace().to_owned() };
    workspaces.dissolve(with_token(dissolve, &session.access_token)).await.unwrap();
    let status = refusal(accounts.close(close(1)).await, "CLOSING_REFUSED");
    assert_eq!(
        metadata_of(&status, "precondition").as_deref(),
        Some("WORKSPACE_OWNED"),
        "it can be restored"
    );
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::days(8)).await.unwrap();
    let gone = accounts.close(close(1)).await.unwrap().into_inner().console_account.unwrap();
    assert_eq!((gone.state(), gone.email.as_str()), (AccountState::Closed, ""));
    assert!(accounts.close(close(1)).await.unwrap().metadata().contains_key("idempotent-replay"));
    assert_eq!(accounts.close(close(4)).await.unwrap().into_inner().console_account.unwrap(), gone);

    let again = accounts.update(rename(&session.access_token)).await.unwrap();
    assert!(again.metadata().contains_key("idempotent-replay"));
    let forgotten = ConsoleAccount { console_account_id: account.clone(), ..Default::default() };
    assert_eq!(again.into_inner().console_account.unwrap(), forgotten, "its id, and no more");
    own.journey.register().await.expect("the first registration is answered as it was");
    let mut sessions = SessionServiceClient::new(channel(&world, "account-svc"));
    let refresh = SessionServiceRefreshRequest { refresh_token: session.refresh_token.clone() };
    refusal(sessions.refresh(refresh).await, "SESSION_INVALID");
    refusal(sign_in(&world, console("goer@example.com"), PASSWORD).await, "CREDENTIAL_INVALID");
    let members =
        MemberServiceListRequest { workspace_id: host.workspace().to_owned(), ..Default::default() };
    let members = world.clients.members.clone().list(members).await.unwrap().into_inner().members;
    assert!(members.iter().all(|member| member.console_account_id != account), "{members:?}");
    let mut anew = world.journey("goer");
    anew.customer.namespace = uuid::Uuid::from_u128(77);
    anew.customer.username = "goer-again".to_owned();
    let registration = anew.register().await.unwrap();
    assert_ne!(registration.console_account_id, account, "the address is free, the account stays closed");
}
