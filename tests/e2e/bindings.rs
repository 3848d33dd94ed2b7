//! Who pays for which day is never in doubt: bindings over time, at every moment around midnight.

use chassis::civil::UsageDate;
use chassis::status::{metadata_of, reason_of};
use chassis::wire::{date, instant};
use tallystick_proto::account::v1::{BillingAccountServiceVerifyEnterpriseRequest, CodePurpose, Enterprise};
use tallystick_proto::common::v1::{CodeProof, ErrorReason};
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::workspace::{Plan, State};
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, BindingServiceGetRequest, BindingServiceListRequest,
    BindingServiceRebindRequest, BindingServiceRetireRequest, BindingServiceUnbindRequest,
    BindingServiceUnretireRequest, UsageServiceIngestBatchRequest, UsageServiceQueryRequest, Workspace,
    WorkspaceServiceCreateRequest, WorkspaceServiceGetRequest, WorkspaceServiceUpgradeRequest,
};
use tests::{PASSWORD, Settled, World};
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::codes::{proof, send_code, to_payer};
use crate::sessions::{channel, console, sign_in, with_token};

pub fn id(number: u128) -> String {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number).to_string()
}

pub async fn workspace(world: &World, id: &str) -> Workspace {
    let request = WorkspaceServiceGetRequest { workspace_id: id.to_owned() };
    world.clients.workspaces.clone().get(request).await.unwrap().into_inner().workspace.unwrap()
}

pub async fn verify(world: &World, payer: &str, number: &str, request: u128) {
    let request = BillingAccountServiceVerifyEnterpriseRequest {
        request_id: id(request),
        billing_account_id: payer.to_owned(),
        enterprise: Some(Enterprise {
            company_name: "Acme Ltd".to_owned(),
            taxpayer_number: number.to_owned(),
            verify_time: None,
        }),
        evidence: "ticket 4711".to_owned(),
    };
    world.clients.billing_accounts.clone().verify_enterprise(request).await.unwrap();
}

#[track_caller]
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str) -> Status {
    let status = answer.expect_err(reason);
    assert_eq!(reason_of(&status).as_deref(), Some(reason), "{status:?}");
    status
}

async fn rebind(world: &World, workspace: &str, payer: &str, number: u128) -> Result<OffsetDateTime, Status> {
    let request = BindingServiceRebindRequest {
        request_id: id(number),
        workspace_id: workspace.to_owned(),
        billing_account_id: payer.to_owned(),
        billing_account_code: None,
    };
    let binding = world.clients.bindings.clone().rebind(request).await?.into_inner().binding.unwrap();
    Ok(binding.start_time.as_ref().and_then(instant).unwrap())
}

/// Two customers that are one enterprise, on the morning of the first's first full day.
async fn one_enterprise(name: &str) -> (World, Settled, Settled) {
    let world = World::new().await.unwrap();
    let first = world.customer_with_password(&format!("{name}-one")).await.unwrap();
    let second = world.customer_with_password(&format!("{name}-two")).await.unwrap();
    verify(&world, first.payer(), "91330106MA27Y5XH5K", 1).await;
    verify(&world, second.payer(), "91330106MA27Y5XH5K", 2).await;
    world.clients.advance_to(first.day.start() + Duration::MINUTE).await.unwrap();
    (world, first, second)
}

async fn payer_of(world: &World, customer: &Settled, day: UsageDate) -> String {
    customer.journey.seal(day).await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    let payer: Uuid = sqlx::query_scalar(
        "select billing_account_id from workspace.sealed_days where workspace_id = $1 and usage_date = $2",
    )
    .bind(customer.workspace().trim_start_matches("wksp_").parse::<Uuid>().unwrap())
    .bind(day.date())
    .fetch_one(&mut admin)
    .await
    .unwrap();
    format!("bacc_{payer}")
}

/// A rebind asked for at 23:59:59, 00:00:00, 00:30 and 01:00 moves the days from the next 00:00 on, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebind_moves_days_from_the_next_midnight_on_whenever_it_is_asked_for() {
    let (world, first, second) = one_enterprise("midnight").await;
    let mut day = first.day;
    let mut payers = [first.payer().to_owned(), second.payer().to_owned()];
    let cases = [Duration::DAY - Duration::SECOND, Duration::ZERO, Duration::minutes(30), Duration::HOUR];
    for (number, offset) in cases.into_iter().enumerate() {
        world.clients.advance_to(day.start() + offset).await.unwrap();
        let now = world.clients.now().await.unwrap();
        assert_eq!(UsageDate::of(now), day, "{offset}");
        let number = 10 + u128::try_from(number).unwrap();
        let from = rebind(&world, first.workspace(), &payers[1], number).await.unwrap();
        assert_eq!(from, day.end(), "{offset}");
        let get = BindingServiceGetRequest { workspace_id: first.workspace().to_owned() };
        let now_bound = world.clients.bindings.clone().get(get).await.unwrap().into_inner().binding.unwrap();
        assert_eq!(now_bound.billing_account_id, payers[0], "the present payer pays until midnight");
        let pending = rebind(&world, first.workspace(), &payers[0], number + 100).await;
        refusal(pending, "BINDING_CHANGE_PENDING");
        world.clients.advance_to(day.end() + Duration::DAY + Duration::HOUR).await.unwrap();
        assert_eq!(payer_of(&world, &first, day).await, payers[0], "{offset}");
        assert_eq!(payer_of(&world, &first, day.next()).await, payers[1], "{offset}");
        payers.swap(0, 1);
        day = UsageDate::of(world.clients.now().await.unwrap()).next();
    }
    let list = BindingServiceListRequest { workspace_id: first.workspace().to_owned(), ..Default::default() };
    let bindings = world.clients.bindings.clone().list(list).await.unwrap().into_inner().bindings;
    assert_eq!(bindings.len(), 5);
    for pair in bindings.windows(2) {
        assert_eq!(pair[0].end_time, pair[1].start_time, "no gap, no overlap");
    }
}

/// The owner needs the payer's code; the first binding of a trial holds from the next full hour, and that account pays the rest of the day.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_upgrades_its_trial_with_the_payers_code_in_the_middle_of_a_day() {
    let world = World::new().await.unwrap();
    let owner = world.customer_with_password("upgrader").await.unwrap();
    let payer = world.customer_with_password("sponsor").await.unwrap();
    world.clients.advance_to(owner.day.start() + Duration::minutes(9 * 60 + 20)).await.unwrap();
    let create = WorkspaceServiceCreateRequest {
        request_id: id(1),
        owner_console_account_id: owner.registration.console_account_id.clone(),
        name: "Trial".to_owned(),
        site: 1,
        language: 0,
    };
    let trial =
        world.clients.workspaces.clone().create(create).await.unwrap().into_inner().workspace.unwrap();
    let token = sign_in(&world, console("upgrader@example.com"), PASSWORD).await.unwrap().access_token;
    let object = (to_payer("sponsor-ltd"), trial.workspace_id.as_str());
    let challenge = send_code(&world, CodePurpose::BindWorkspace, object, Some(&token)).await.unwrap();
    let code = world.take_code("sponsor@example.com").await.unwrap();
    let upgrade = |code: Option<CodeProof>| WorkspaceServiceUpgradeRequest {
        request_id: id(2),
        workspace_id: trial.workspace_id.clone(),
        billing_account_id: payer.payer().to_owned(),
        billing_account_code: code,
    };
    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let mut call = async |request| workspaces.upgrade(with_token(request, &token)).await;
    refusal(call(upgrade(None)).await, "FIELD_INVALID");
    let wrong = proof(&challenge, if code == "000000" { "000001" } else { "000000" });
    refusal(call(upgrade(Some(wrong))).await, "CODE_INVALID");
    let upgraded =
        call(upgrade(Some(proof(&challenge, &code)))).await.unwrap().into_inner().workspace.unwrap();
    let from = upgraded.commercial_time.as_ref().and_then(instant).unwrap();
    assert_eq!(from, owner.day.start() + Duration::hours(10));
    assert_eq!(upgraded.plan(), Plan::Trial, "until the full hour");
    let replay = call(upgrade(Some(proof(&challenge, &code)))).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    let again = WorkspaceServiceUpgradeRequest { request_id: id(3), ..upgrade(None) };
    refusal(world.clients.workspaces.clone().upgrade(again).await, "NOT_A_TRIAL");
    world.clients.advance_to(owner.day.start() + Duration::hours(23)).await.unwrap();
    assert_eq!(workspace(&world, &trial.workspace_id).await.plan(), Plan::Commercial);
    let record = |place: &str, hour: i64| {
        let time = owner.day.start() + Duration::hours(hour) + Duration::minutes(30);
        let quantity = if hour < 10 { "2000" } else { "10000" };
        owner.journey.record(&trial.workspace_id, place, time, ("pv", "", quantity))
    };
    owner.journey.ingest(vec![record("free", 9), record("charged", 10)]).await.unwrap();
    world.quiet().await.unwrap();
    let query = UsageServiceQueryRequest {
        workspace_id: trial.workspace_id.clone(),
        usage_date: Some(date(owner.day)),
        ..Default::default()
    };
    let used = world.clients.usage.clone().query(query).await.unwrap().into_inner();
    assert_eq!(used.lines.len(), 1);
    assert_eq!(used.lines[0].quantity, "10000", "what was used before the upgrade is hidden");
    world.clients.advance_to(owner.day.end() + Duration::HOUR).await.unwrap();
    owner.journey.seal(owner.day).await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    let sealed: (Uuid, String) = sqlx::query_as(
        "select d.billing_account_id, l.quantity::text from workspace.sealed_days d join workspace.sealed_lines l \
         using (workspace_id, usage_date) where workspace_id = $1",
    )
    .bind(trial.workspace_id.trim_start_matches("wksp_").parse::<Uuid>().unwrap())
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(sealed.1, "10000", "what came before the full hour is free (DEC-13)");
    assert_eq!(format!("bacc_{}", sealed.0), payer.payer());
}

/// Whoever is unbound takes no usage from midnight on, has no bill, and goes on from the full hour after it is bound again.
#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_workspace_takes_no_usage_until_it_is_bound_again() {
    let (world, first, second) = one_enterprise("unbound").await;
    let unbind = |number| BindingServiceUnbindRequest {
        request_id: id(number),
        workspace_id: first.workspace().to_owned(),
    };
    let ended =
        world.clients.bindings.clone().unbind(unbind(10)).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(ended.end_time.as_ref().and_then(instant), Some(first.day.end()));
    refusal(world.clients.bindings.clone().unbind(unbind(11)).await, "BINDING_CHANGE_PENDING");
    first.journey.ingest(vec![first.record("before", 3, ("pv", "", "1"))]).await.unwrap();
    world.clients.advance_to(first.day.end() + Duration::minutes(10)).await.unwrap();
    assert_eq!(workspace(&world, first.workspace()).await.state(), State::Unbound);
    refusal(world.clients.bindings.clone().unbind(unbind(12)).await, "WORKSPACE_NOT_BOUND");
    refusal(rebind(&world, first.workspace(), second.payer(), 13).await, "WORKSPACE_NOT_BOUND");
    let send = async |place: &str, minute: i64| {
        let records = vec![first.record(place, minute, ("pv", "", "1"))];
        let request = UsageServiceIngestBatchRequest { records };
        world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
    };
    assert_eq!(send("last moment", 24 * 60 - 1).await.accepted_count, 1);
    let refused = send("first moment", 24 * 60).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::WorkspaceClosed);
    world.clients.advance_to(first.day.next().end() + Duration::minutes(9 * 60 + 15)).await.unwrap();
    for day in [first.day, first.day.next()] {
        first.journey.seal(day).await.unwrap();
        let run = first.journey.run_bills(day).await.unwrap();
        assert_eq!(run.failed_count, 0);
    }
    assert!(first.journey.bill(first.workspace(), first.day).await.unwrap().is_some());
    assert!(first.journey.bill(first.workspace(), first.day.next()).await.unwrap().is_none(), "a day inside");
    let bind = BindingServiceBindRequest {
        request_id: id(14),
        workspace_id: first.workspace().to_owned(),
        billing_account_id: second.payer().to_owned(),
        billing_account_code: None,
    };
    let bound = world.clients.bindings.clone().bind(bind).await.unwrap().into_inner().binding.unwrap();
    let third = first.day.next().next();
    assert_eq!(bound.start_time.as_ref().and_then(instant), Some(third.start() + Duration::hours(10)));
    world.clients.advance_to(third.start() + Duration::hours(11)).await.unwrap();
    assert_eq!(workspace(&world, first.workspace()).await.state(), State::Open);
    let minute = 2 * 24 * 60 + 10 * 60;
    assert_eq!(send("closed", minute - 1).await.refusals[0].reason(), ErrorReason::WorkspaceClosed);
    assert_eq!(send("open", minute).await.accepted_count, 1);
    world.clients.advance_to(third.end() + Duration::HOUR).await.unwrap();
    assert_eq!(payer_of(&world, &first, third).await, second.payer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebind_needs_the_same_enterprise_one_currency_no_arrears_and_an_open_account() {
    let world = World::new().await.unwrap();
    let first = world.customer("strict-one").await.unwrap();
    let second = world.customer("strict-two").await.unwrap();
    let dollars = tallystick_proto::account::v1::BillingAccountServiceCreateRequest {
        request_id: id(1),
        username: "strict-usd".to_owned(),
        currency_code: "USD".to_owned(),
        email: "usd@example.com".to_owned(),
    };
    let dollars = world.clients.billing_accounts.clone().create(dollars).await.unwrap().into_inner();
    let dollars = dollars.billing_account.unwrap().billing_account_id;
    let dump = world.dump().await.unwrap();
    refusal(rebind(&world, first.workspace(), second.payer(), 10).await, "ENTERPRISE_DIFFERS");
    refusal(rebind(&world, first.workspace(), first.payer(), 11).await, "WORKSPACE_BOUND");
    let nobody = format!("bacc_{}", Uuid::from_u128(1));
    refusal(rebind(&world, first.workspace(), &nobody, 12).await, "OBJECT_NOT_FOUND");
    assert_eq!(world.dump().await.unwrap(), dump);
    verify(&world, first.payer(), "91330106MA27Y5XH5K", 13).await;
    verify(&world, second.payer(), "91330106MA27Y5XH5L", 14).await;
    refusal(rebind(&world, first.workspace(), second.payer(), 15).await, "ENTERPRISE_DIFFERS");
    verify(&world, second.payer(), "91330106MA27Y5XH5K", 16).await;
    verify(&world, &dollars, "91330106MA27Y5XH5K", 17).await;
    // A day without money: what it costs is owed, and nothing moves until it is paid (DEC-22).
    first.journey.ingest(vec![first.record("owed", 10, ("pv", "", "10000"))]).await.unwrap();
    world.clients.advance_to(first.day.end() + Duration::HOUR).await.unwrap();
    first.journey.seal(first.day).await.unwrap();
    first.journey.run_bills(first.day).await.unwrap();
    first.journey.settled_bill(first.workspace(), first.day).await.unwrap();
    let owed = refusal(rebind(&world, first.workspace(), second.payer(), 18).await, "ARREARS_OUTSTANDING");
    assert_eq!(owed.code(), Code::FailedPrecondition);
    assert_eq!(metadata_of(&owed, "currency").as_deref(), Some("CNY"));
    let unbind =
        BindingServiceUnbindRequest { request_id: id(19), workspace_id: first.workspace().to_owned() };
    refusal(world.clients.bindings.clone().unbind(unbind).await, "ARREARS_OUTSTANDING");
    first.journey.top_up(first.payer(), tests::cny("100.00")).await.unwrap();
    // Until the order to unlock has arrived, the answer is to ask again.
    world.quiet().await.unwrap();
    // An operator may change the currency (DEC-53).
    let from = rebind(&world, first.workspace(), &dollars, 20).await.unwrap();
    assert_eq!(from, first.day.next().end());
}

/// An account that is being closed is bound to nothing, however the two calls race.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_bound_to_an_account_that_is_retired() {
    let (world, first, second) = one_enterprise("retired").await;
    let account_svc = world.stack.signers[0].token(&["workspace-svc"]).unwrap();
    let mut bindings = BindingServiceClient::new(channel(&world, "workspace-svc"));
    let mut retire = async |id: &str| {
        let request = BindingServiceRetireRequest { account_id: id.to_owned() };
        bindings.retire(with_token(request, &account_svc)).await
    };
    let status = refusal(retire(first.payer()).await, "CLOSING_REFUSED");
    assert_eq!(metadata_of(&status, "precondition").as_deref(), Some("WORKSPACE_BOUND"));
    let status = refusal(retire(&first.registration.console_account_id).await, "CLOSING_REFUSED");
    assert_eq!(metadata_of(&status, "precondition").as_deref(), Some("WORKSPACE_OWNED"));
    let unbind =
        BindingServiceUnbindRequest { request_id: id(10), workspace_id: second.workspace().to_owned() };
    world.clients.bindings.clone().unbind(unbind).await.unwrap();
    world.clients.advance_to(second.day.end() + Duration::MINUTE).await.unwrap();
    let status = refusal(retire(second.payer()).await, "CLOSING_REFUSED");
    assert_eq!(
        metadata_of(&status, "precondition").as_deref(),
        Some("DAY_NOT_SEALED"),
        "the last day it pays for"
    );
    second.journey.seal(second.day).await.unwrap();
    let status = refusal(retire(second.payer()).await, "CLOSING_REFUSED");
    assert_eq!(
        metadata_of(&status, "precondition").as_deref(),
        Some("DAY_NOT_SEALED"),
        "nor is the day before"
    );
    second.journey.seal(second.day.plus_days(-1)).await.unwrap();
    let retired = retire(second.payer()).await.unwrap().into_inner();
    assert_eq!(retired.last_usage_date, Some(chassis::wire::date(second.day)));
    retire(second.payer()).await.expect("again");
    refusal(rebind(&world, first.workspace(), second.payer(), 11).await, "ACCOUNT_CLOSED");
    let unretire = BindingServiceUnretireRequest { account_id: second.payer().to_owned() };
    let mut bindings = BindingServiceClient::new(channel(&world, "workspace-svc"));
    bindings.unretire(with_token(unretire, &account_svc)).await.unwrap();
    rebind(&world, first.workspace(), second.payer(), 12).await.unwrap();
}

/// REG-3, DEC-53: whoever owns the workspace cannot take it to another currency, whatever the payer agrees to.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_does_not_rebind_to_another_currency() {
    let world = World::new().await.unwrap();
    let own = world.customer_with_password("stays-cny").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::HOUR).await.unwrap();
    let dollars = tallystick_proto::account::v1::BillingAccountServiceCreateRequest {
        request_id: id(1),
        username: "pays-usd".to_owned(),
        currency_code: "USD".to_owned(),
        email: "pays-usd@example.com".to_owned(),
    };
    let dollars = world.clients.billing_accounts.clone().create(dollars).await.unwrap().into_inner();
    let dollars = dollars.billing_account.unwrap().billing_account_id;
    for (payer, number) in [(own.payer(), 2), (dollars.as_str(), 3)] {
        verify(&world, payer, "91330106MA27Y5XH5K", number).await;
    }
    let token = sign_in(&world, console("stays-cny@example.com"), PASSWORD).await.unwrap().access_token;
    let object = (to_payer("pays-usd"), own.workspace());
    let challenge = send_code(&world, CodePurpose::BindWorkspace, object, Some(&token)).await.unwrap();
    let code = world.take_code("pays-usd@example.com").await.unwrap();
    let request = BindingServiceRebindRequest {
        request_id: id(4),
        workspace_id: own.workspace().to_owned(),
        billing_account_id: dollars.clone(),
        billing_account_code: Some(proof(&challenge, &code)),
    };
    let mut bindings = BindingServiceClient::new(channel(&world, "workspace-svc"));
    let status = refusal(bindings.rebind(with_token(request, &token)).await, "CURRENCY_MISMATCH");
    assert_eq!(metadata_of(&status, "required").as_deref(), Some("CNY"));
}
