//! The life of a workspace: members and owners, locks and their countdown, dissolving and restoring.

use chassis::status::metadata_of;
use chassis::wire::instant;
use tallystick_proto::common::v1::{ErrorReason, Language};
use tallystick_proto::workspace::v1::member::Role;
use tallystick_proto::workspace::v1::member_service_client::MemberServiceClient;
use tallystick_proto::workspace::v1::workspace::State;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceGetRequest, MemberServiceAddRequest, MemberServiceListRequest, MemberServiceRemoveRequest,
    MemberServiceReviewRequest, MemberServiceSetRoleRequest, UsageServiceIngestBatchRequest,
    UsageServiceIngestBatchResponse, WorkspaceServiceDissolveRequest, WorkspaceServiceGetRequest,
    WorkspaceServiceListRequest, WorkspaceServiceLockRequest, WorkspaceServiceRestoreRequest,
    WorkspaceServiceTransferOwnershipRequest, WorkspaceServiceUnlockRequest, WorkspaceServiceUpdateRequest,
    lock::Cause,
};
use tests::{PASSWORD, Settled, World};
use time::Duration;
use tonic::{Code, Status};

use crate::bindings::{id, refusal, workspace};
use crate::sessions::{channel, console, payer, sign_in, with_token};

pub async fn add_member(
    world: &World,
    (workspace, account): (&str, &str),
    role: Role,
    reads_bills: bool,
    number: u128,
) -> Result<tallystick_proto::workspace::v1::Member, Status> {
    let request = MemberServiceAddRequest {
        request_id: id(number),
        workspace_id: workspace.to_owned(),
        console_account_id: account.to_owned(),
        role: role.into(),
        reads_bills,
    };
    Ok(world.clients.members.clone().add(request).await?.into_inner().member.unwrap())
}

pub async fn token_of(world: &World, email: &str) -> String {
    sign_in(world, console(email), PASSWORD).await.unwrap().access_token
}

async fn ingest(
    world: &World,
    customer: &Settled,
    place: &str,
    minute: i64,
) -> UsageServiceIngestBatchResponse {
    let records = vec![customer.record(place, minute, ("pv", "", "10000"))];
    let request = UsageServiceIngestBatchRequest { records };
    world.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner()
}

/// PLAN-17: in a commercial workspace a raise to administrator waits for the payer; the owner is no member.
#[tokio::test(flavor = "multi_thread")]
async fn a_raise_to_administrator_waits_for_the_payer() {
    let world = World::new().await.unwrap();
    let own = world.customer_with_password("raiser").await.unwrap();
    let other = world.customer_with_password("raised").await.unwrap();
    let account = other.registration.console_account_id.as_str();
    world.clients.advance_to(own.day.start()).await.unwrap();
    let pair = (own.workspace(), account);
    let member = add_member(&world, pair, Role::Standard, false, 1).await.unwrap();
    assert_eq!(member.role(), Role::Standard);
    refusal(add_member(&world, pair, Role::Standard, false, 2).await, "MEMBER_EXISTS");
    let owner = (own.workspace(), own.registration.console_account_id.as_str());
    refusal(add_member(&world, owner, Role::Standard, false, 3).await, "MEMBER_EXISTS");
    let unknown = format!("acnt_{}", uuid::Uuid::from_u128(1));
    refusal(
        add_member(&world, (own.workspace(), &unknown), Role::Standard, false, 4).await,
        "OBJECT_NOT_FOUND",
    );
    refusal(add_member(&world, (own.workspace(), &unknown), Role::Standard, true, 5).await, "FIELD_INVALID");
    let raise = MemberServiceSetRoleRequest {
        request_id: id(6),
        workspace_id: own.workspace().to_owned(),
        console_account_id: account.to_owned(),
        role: Role::Administrator.into(),
        reads_bills: false,
    };
    let raised =
        world.clients.members.clone().set_role(raise.clone()).await.unwrap().into_inner().member.unwrap();
    assert_eq!((raised.role(), raised.review_pending), (Role::Standard, true));
    let replay = world.clients.members.clone().set_role(raise).await.unwrap();
    assert_eq!(replay.metadata().get("idempotent-replay").unwrap(), "true");
    let review = |number| MemberServiceReviewRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
        console_account_id: account.to_owned(),
        approve: true,
    };
    let holder = sign_in(&world, payer("raiser-ltd"), PASSWORD).await.unwrap().access_token;
    let mut members = MemberServiceClient::new(channel(&world, "workspace-svc"));
    let reviewed = members.review(with_token(review(7), &holder)).await.unwrap().into_inner().member.unwrap();
    assert_eq!((reviewed.role(), reviewed.review_pending), (Role::Administrator, false));
    refusal(members.review(with_token(review(8), &holder)).await, "NOTHING_TO_REVIEW");
    let list = MemberServiceListRequest { workspace_id: own.workspace().to_owned(), ..Default::default() };
    let listed = world.clients.members.clone().list(list).await.unwrap().into_inner().members;
    assert_eq!(listed, [reviewed]);
    let remove = MemberServiceRemoveRequest {
        request_id: id(9),
        workspace_id: own.workspace().to_owned(),
        console_account_id: account.to_owned(),
    };
    world.clients.members.clone().remove(remove.clone()).await.unwrap();
    let again = MemberServiceRemoveRequest { request_id: id(10), ..remove };
    refusal(world.clients.members.clone().remove(again).await, "OBJECT_NOT_FOUND");
}

/// WS-10: the owner hands over to a member and becomes an administrator; its own rights are gone at once here.
#[tokio::test(flavor = "multi_thread")]
async fn ownership_is_handed_to_a_member_and_the_former_owner_administers() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("giver").await.unwrap();
    let other = world.customer_with_password("taker").await.unwrap();
    let account = other.registration.console_account_id.as_str();
    let request = |number| WorkspaceServiceTransferOwnershipRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
        new_owner_console_account_id: account.to_owned(),
    };
    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let giver = token_of(&world, "giver@example.com").await;
    let taker = token_of(&world, "taker@example.com").await;
    refusal(workspaces.transfer_ownership(with_token(request(1), &giver)).await, "OBJECT_NOT_FOUND");
    add_member(&world, (own.workspace(), account), Role::ReadOnly, false, 2).await.unwrap();
    refusal(workspaces.transfer_ownership(with_token(request(3), &taker)).await, "RIGHT_MISSING");
    let moved = workspaces.transfer_ownership(with_token(request(4), &giver)).await.unwrap().into_inner();
    assert_eq!(moved.workspace.unwrap().owner_console_account_id, account);
    let replay =
        refusal(workspaces.transfer_ownership(with_token(request(4), &giver)).await, "RIGHT_MISSING");
    assert_eq!(replay.code(), Code::PermissionDenied, "the owner is another now");
    let list = MemberServiceListRequest { workspace_id: own.workspace().to_owned(), ..Default::default() };
    let members = world.clients.members.clone().list(list).await.unwrap().into_inner().members;
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].console_account_id, own.registration.console_account_id);
    assert_eq!(members[0].role(), Role::Administrator);
    let rename = WorkspaceServiceUpdateRequest {
        request_id: id(5),
        workspace_id: own.workspace().to_owned(),
        name: "Renamed".to_owned(),
        language: Language::En.into(),
    };
    let renamed =
        workspaces.update(with_token(rename, &giver)).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.language()),
        ("Renamed", Language::En),
        "an administrator may"
    );
    let dissolve =
        WorkspaceServiceDissolveRequest { request_id: id(6), workspace_id: own.workspace().to_owned() };
    refusal(workspaces.dissolve(with_token(dissolve, &giver)).await, "RIGHT_MISSING");
    let filter =
        WorkspaceServiceListRequest { owner_console_account_id: account.to_owned(), ..Default::default() };
    let owned = workspaces.list(with_token(filter, &taker)).await.unwrap().into_inner().workspaces;
    assert_eq!(owned.len(), 2, "its own, and what it was given");
}

/// WS-4, DEC-39, DEC-40, DEC-43: 14 days in which everything goes on, then no usage; unlocked, it begins empty at the next full hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_workspace_counts_14_days_down_and_takes_no_usage_after_them() {
    let world = World::new().await.unwrap();
    let own = world.customer("locked").await.unwrap();
    let lock = |number, cause: Cause| WorkspaceServiceLockRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
        cause: cause.into(),
        billing_account_id: String::new(),
    };
    let unlock = |number, cause: Cause| WorkspaceServiceUnlockRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
        cause: cause.into(),
    };
    let client = || world.clients.workspaces.clone();
    refusal(client().lock(lock(1, Cause::Unspecified)).await, "FIELD_INVALID");
    let locked = client().lock(lock(2, Cause::Arrears)).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(locked.state(), State::Locking);
    let final_time = locked.lock.as_ref().unwrap().final_time.as_ref().and_then(instant).unwrap();
    let again = client().lock(lock(3, Cause::Subscription)).await.unwrap().into_inner().workspace.unwrap();
    let again = again.lock.unwrap();
    assert_eq!((again.cause(), again.final_time), (Cause::Arrears, locked.lock.unwrap().final_time));
    assert!(again.other_cause_time.is_some(), "a second cause is remembered, the countdown stays as it is");
    assert_eq!(ingest(&world, &own, "in the countdown", 1).await.accepted_count, 1);
    let other =
        client().unlock(unlock(4, Cause::Subscription)).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(other.state(), State::Locking, "the first cause holds still");
    let address = "locked@example.com";
    let mail = world.take_mail(address, "14").await.unwrap();
    assert!(mail.contains("锁定"), "{mail}");
    for (days, left) in [(11, "3 天"), (13, "1 天")] {
        let moment = final_time - Duration::days(14 - days);
        world.clients.advance_to(moment).await.unwrap();
        world.take_mail(address, left).await.unwrap();
    }
    let minutes = (final_time - own.day.start()).whole_minutes();
    world.clients.advance_to(final_time + Duration::minutes(20)).await.unwrap();
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Locked);
    world.take_mail(address, "已完全锁定").await.unwrap();
    assert_eq!(ingest(&world, &own, "the last moment", minutes - 1).await.accepted_count, 1);
    let refused = ingest(&world, &own, "over", minutes).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::WorkspaceClosed);
    let unlocked = client().unlock(unlock(5, Cause::Arrears)).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(unlocked.state(), State::Open);
    world.take_mail(address, "已解锁").await.unwrap();
    let refused = ingest(&world, &own, "until the full hour", minutes + 10).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::WorkspaceClosed);
    world.clients.advance_to(final_time + Duration::minutes(61)).await.unwrap();
    assert_eq!(ingest(&world, &own, "from then on", minutes + 60).await.accepted_count, 1);
    let any = client().unlock(unlock(6, Cause::Unspecified)).await.unwrap().into_inner().workspace.unwrap();
    assert_eq!(any.state(), State::Open, "what is not locked stays as it is");
}

/// A lock that is lifted in time leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_lifted_in_time_leaves_no_gap() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("lifted").await.unwrap();
    let lock = WorkspaceServiceLockRequest {
        request_id: id(1),
        workspace_id: own.workspace().to_owned(),
        cause: Cause::Arrears.into(),
        billing_account_id: String::new(),
    };
    world.clients.workspaces.clone().lock(lock).await.unwrap();
    let unlock = WorkspaceServiceUnlockRequest {
        request_id: id(2),
        workspace_id: own.workspace().to_owned(),
        cause: Cause::Arrears.into(),
    };
    world.clients.workspaces.clone().unlock(unlock).await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::days(20)).await.unwrap();
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Open);
    assert_eq!(ingest(&world, &own, "later", 20 * 24 * 60).await.accepted_count, 1);
}

/// WS-9, DEC-45: usage up to the moment is billed to the payer; later usage is refused; within 7 days the owner restores it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dissolved_workspace_is_billed_to_its_last_moment_and_restored_within_7_days() {
    let world = World::new().await.unwrap();
    let own = world.customer_with_password("dissolver").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::minutes(10 * 60 + 30)).await.unwrap();
    let owner = token_of(&world, "dissolver@example.com").await;
    let dissolve = |number| WorkspaceServiceDissolveRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
    };
    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let gone = workspaces.dissolve(with_token(dissolve(1), &owner)).await.unwrap().into_inner();
    assert_eq!(gone.workspace.unwrap().state(), State::Dissolving);
    refusal(workspaces.dissolve(with_token(dissolve(2), &owner)).await, "WORKSPACE_DISSOLVED");
    world.clients.advance_to(own.day.start() + Duration::hours(11)).await.unwrap();
    assert_eq!(ingest(&world, &own, "before", 10 * 60 + 29).await.accepted_count, 1);
    let refused = ingest(&world, &own, "after", 10 * 60 + 31).await;
    assert_eq!(refused.refusals[0].reason(), ErrorReason::WorkspaceClosed);
    world.clients.advance_to(own.day.next().end() + Duration::minutes(15)).await.unwrap();
    for day in [own.day, own.day.next()] {
        own.journey.seal(day).await.unwrap();
        own.journey.run_bills(day).await.unwrap();
    }
    let bill = own.journey.settled_bill(own.workspace(), own.day).await.unwrap();
    assert_eq!(bill.billing_account_id, own.payer());
    assert_eq!(bill.total.unwrap().amount, "2.00");
    assert!(own.journey.bill(own.workspace(), own.day.next()).await.unwrap().is_none());
    let late = ingest(&world, &own, "late", 10 * 60).await;
    assert_eq!(late.refusals[0].reason(), ErrorReason::WorkspaceClosed, "its day is sealed");
    let get = || BindingServiceGetRequest { workspace_id: own.workspace().to_owned() };
    refusal(world.clients.bindings.clone().get(get()).await, "OBJECT_NOT_FOUND");
    let restore = |number| WorkspaceServiceRestoreRequest {
        request_id: id(number),
        workspace_id: own.workspace().to_owned(),
    };
    let back = workspaces.restore(with_token(restore(3), &owner)).await.unwrap().into_inner();
    assert_eq!(back.workspace.unwrap().state(), State::Open);
    refusal(workspaces.restore(with_token(restore(4), &owner)).await, "NOT_RESTORABLE");
    let bound = world.clients.bindings.clone().get(get()).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(bound.billing_account_id, own.payer(), "who paid last pays again");
    let third = own.day.next().next();
    assert_eq!(bound.start_time.as_ref().and_then(instant), Some(third.start() + Duration::HOUR));
    world.clients.advance_to(third.start() + Duration::minutes(70)).await.unwrap();
    assert_eq!(ingest(&world, &own, "again", 2 * 24 * 60 + 65).await.accepted_count, 1);
    workspaces.dissolve(with_token(dissolve(5), &owner)).await.unwrap();
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::days(7)).await.unwrap();
    assert_eq!(workspace(&world, own.workspace()).await.state(), State::Dissolved);
    refusal(workspaces.restore(with_token(restore(6), &owner)).await, "NOT_RESTORABLE");
    let rename = WorkspaceServiceUpdateRequest {
        request_id: id(7),
        workspace_id: own.workspace().to_owned(),
        name: "x".to_owned(),
        language: 0,
    };
    let status = refusal(workspaces.update(with_token(rename, &owner)).await, "WORKSPACE_DISSOLVED");
    assert_eq!(metadata_of(&status, "workspaceId").as_deref(), Some(own.workspace()));
}

/// Restored on the day that it was dissolved, the binding never ended.
#[tokio::test(flavor = "multi_thread")]
async fn restored_on_the_same_day_nothing_but_the_gap_has_happened() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("hesitant").await.unwrap();
    let before = world.clients.bindings.clone();
    let get = || BindingServiceGetRequest { workspace_id: own.workspace().to_owned() };
    let bound = before.clone().get(get()).await.unwrap().into_inner().binding;
    let dissolve =
        WorkspaceServiceDissolveRequest { request_id: id(1), workspace_id: own.workspace().to_owned() };
    world.clients.workspaces.clone().dissolve(dissolve).await.unwrap();
    let restore =
        WorkspaceServiceRestoreRequest { request_id: id(2), workspace_id: own.workspace().to_owned() };
    world.clients.workspaces.clone().restore(restore).await.unwrap();
    assert_eq!(before.clone().get(get()).await.unwrap().into_inner().binding, bound);
}

/// A member sees the workspace, and bills only as its role says (RO-1).
#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_bills_only_if_its_role_does() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer_with_password("roles").await.unwrap();
    let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
    let cases = [
        ("standard", Role::Standard, false, false),
        ("reader", Role::ReadOnly, false, false),
        ("custom", Role::Custom, false, false),
        ("finance", Role::Custom, true, true),
    ];
    for (number, (name, role, grant, reads)) in cases.into_iter().enumerate() {
        let other = world.customer_with_password(name).await.unwrap();
        let pair = (own.workspace(), other.registration.console_account_id.as_str());
        add_member(&world, pair, role, grant, u128::try_from(number).unwrap()).await.unwrap();
        let token = token_of(&world, &format!("{name}@example.com")).await;
        let get = WorkspaceServiceGetRequest { workspace_id: own.workspace().to_owned() };
        workspaces.get(with_token(get, &token)).await.expect("it sees the workspace");
        let mut bindings = tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient::new(
            channel(&world, "workspace-svc"),
        );
        let get = BindingServiceGetRequest { workspace_id: own.workspace().to_owned() };
        let answer = bindings.get(with_token(get, &token)).await;
        if reads {
            answer.expect("it reads who pays");
        } else {
            refusal(answer, "RIGHT_MISSING");
        }
    }
}

/// Dissolved before its first payer has begun, a workspace is a trial again: no day of it is ever without a payer.
#[tokio::test(flavor = "multi_thread")]
async fn dissolved_before_its_payer_has_begun_it_is_restored_as_it_was() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("evening").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::minutes(23 * 60 + 30)).await.unwrap();
    let create = tallystick_proto::workspace::v1::WorkspaceServiceCreateRequest {
        request_id: id(1),
        owner_console_account_id: own.registration.console_account_id.clone(),
        name: "Late".to_owned(),
        site: 1,
        language: 0,
    };
    let late = world.clients.workspaces.clone().create(create).await.unwrap().into_inner().workspace.unwrap();
    let bind = tallystick_proto::workspace::v1::BindingServiceBindRequest {
        request_id: id(2),
        workspace_id: late.workspace_id.clone(),
        billing_account_id: own.payer().to_owned(),
        billing_account_code: None,
    };
    world.clients.bindings.clone().bind(bind).await.unwrap();
    let mut number = 3;
    // Twice within the hour: the second gap continues the first.
    for _ in 0..2 {
        let dissolve = WorkspaceServiceDissolveRequest {
            request_id: id(number),
            workspace_id: late.workspace_id.clone(),
        };
        world.clients.workspaces.clone().dissolve(dissolve).await.unwrap();
        let restore = WorkspaceServiceRestoreRequest {
            request_id: id(number + 1),
            workspace_id: late.workspace_id.clone(),
        };
        let back =
            world.clients.workspaces.clone().restore(restore).await.unwrap().into_inner().workspace.unwrap();
        assert_eq!(back.state(), State::Open);
        assert_eq!(back.commercial_time, None, "a trial, as before");
        number += 2;
    }
    world.clients.advance_to(own.day.next().end() + Duration::HOUR).await.unwrap();
    for day in [own.day, own.day.next()] {
        let manifest = own.journey.seal(day).await.unwrap();
        assert_eq!(manifest.workspace_count, 1, "the other one only");
    }
}

/// WS-6: a lock keeps nobody from dissolving, neither in its countdown nor after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_workspace_is_dissolved_all_the_same() {
    let world = World::without_prices().await.unwrap();
    for (name, days) in [("in-countdown", 1), ("locked-for-good", 15)] {
        let own = world.customer_with_password(name).await.unwrap();
        let lock = WorkspaceServiceLockRequest {
            request_id: id(1),
            workspace_id: own.workspace().to_owned(),
            cause: Cause::Subscription.into(),
            billing_account_id: String::new(),
        };
        world.clients.workspaces.clone().lock(lock).await.unwrap();
        let now = world.clients.now().await.unwrap();
        world.clients.advance_to(now + Duration::days(days)).await.unwrap();
        let expected = if days < 14 { State::Locking } else { State::Locked };
        assert_eq!(workspace(&world, own.workspace()).await.state(), expected);
        let owner = token_of(&world, &format!("{name}@example.com")).await;
        let dissolve =
            WorkspaceServiceDissolveRequest { request_id: id(2), workspace_id: own.workspace().to_owned() };
        let mut workspaces = WorkspaceServiceClient::new(channel(&world, "workspace-svc"));
        let gone = workspaces.dissolve(with_token(dissolve, &owner)).await.unwrap().into_inner();
        assert_eq!(gone.workspace.unwrap().state(), State::Dissolving);
    }
}
