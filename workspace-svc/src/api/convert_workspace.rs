//! Workspaces, members and bindings to wire, and rejections to refusals.

use chassis::auth::User;
use chassis::id::WorkspaceId;
use chassis::status::Refusal;
use chassis::wire::timestamp;
use tallystick_proto::common::v1 as common;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1 as wire;
use tonic::Code;

use super::convert::data_type;
use crate::app::bind_workspace::BindRejection;
use crate::app::change_retention::RetentionRejection;
use crate::app::change_workspace::ChangeRejection;
use crate::app::create_workspace::{Configured, OwnerClosed};
use crate::app::manage_members::MemberRejection;
use crate::app::retire_account::RetireRejection;
use crate::domain::binding::Binding;
use crate::domain::lock::LockCause;
use crate::domain::member::{Member, Role};
use crate::domain::retention::RetentionPolicy;
use crate::domain::workspace::{Language, State};

pub fn retention_policy(policy: &RetentionPolicy) -> wire::RetentionPolicy {
    wire::RetentionPolicy {
        data_type: data_type(policy.data_type).into(),
        dimension: policy.dimension.clone(),
        days: policy.days,
        effective_time: Some(timestamp(policy.effective_from)),
    }
}

/// A workspace with the policies that hold now: of each data type and index the newest that is effective.
pub fn workspace(configured: &Configured) -> wire::Workspace {
    let Configured { workspace, now, .. } = configured;
    let now = *now;
    let commercial = workspace.commercial_from.is_some_and(|from| from <= now);
    let plan = if commercial { wire::workspace::Plan::Commercial } else { wire::workspace::Plan::Trial };
    let mut in_force: Vec<&RetentionPolicy> = Vec::new();
    for policy in configured.policies.iter().filter(|policy| policy.effective_from <= now) {
        in_force.retain(|other| other.data_type != policy.data_type || other.dimension != policy.dimension);
        in_force.push(policy);
    }
    wire::Workspace {
        workspace_id: workspace.workspace_id.to_string(),
        name: workspace.name.clone(),
        site: workspace.site.to_wire(),
        site_class: workspace.site.class().to_wire(),
        plan: plan.into(),
        owner_console_account_id: workspace.owner.to_string(),
        commercial_time: workspace.commercial_from.map(timestamp),
        retention_policies: in_force.into_iter().map(retention_policy).collect(),
        create_time: Some(timestamp(workspace.created_at)),
        state: state(workspace.state(&configured.closures, now)).into(),
        lock: workspace.lock.map(|lock| wire::Lock {
            cause: lock_cause(lock.cause).into(),
            lock_time: Some(timestamp(lock.locked_at)),
            final_time: Some(timestamp(lock.final_from)),
            other_cause_time: lock.other_since.map(timestamp),
        }),
        dissolve_time: workspace.dissolved_at.map(timestamp),
        language: match workspace.language {
            Language::Zh => common::Language::Zh.into(),
            Language::En => common::Language::En.into(),
        },
    }
}

fn state(state: State) -> wire::workspace::State {
    match state {
        State::Open => wire::workspace::State::Open,
        State::Locking => wire::workspace::State::Locking,
        State::Locked => wire::workspace::State::Locked,
        State::Dissolving => wire::workspace::State::Dissolving,
        State::Dissolved => wire::workspace::State::Dissolved,
        State::Unbound => wire::workspace::State::Unbound,
    }
}

pub fn all_locked(count: &i32) -> wire::WorkspaceServiceLockAllResponse {
    wire::WorkspaceServiceLockAllResponse { workspace_count: *count }
}

pub fn all_unlocked(count: &i32) -> wire::WorkspaceServiceUnlockAllResponse {
    wire::WorkspaceServiceUnlockAllResponse { workspace_count: *count }
}

fn lock_cause(cause: LockCause) -> wire::lock::Cause {
    match cause {
        LockCause::Arrears => wire::lock::Cause::Arrears,
        LockCause::Subscription => wire::lock::Cause::Subscription,
    }
}

/// The answers that hold a workspace as it is now.
macro_rules! workspace_answers {
    ($($name:ident = $answer:ident),+ $(,)?) => {$(
        pub fn $name(configured: &Configured) -> wire::$answer {
            wire::$answer { workspace: Some(workspace(configured)) }
        }
    )+};
}

workspace_answers! {
    created = WorkspaceServiceCreateResponse,
    described = WorkspaceServiceUpdateResponse,
    upgraded = WorkspaceServiceUpgradeResponse,
    locked = WorkspaceServiceLockResponse,
    unlocked = WorkspaceServiceUnlockResponse,
    dissolved = WorkspaceServiceDissolveResponse,
    restored = WorkspaceServiceRestoreResponse,
    transferred = WorkspaceServiceTransferOwnershipResponse,
}

pub fn member(member: &Member) -> wire::Member {
    let role = match member.role {
        Role::Administrator => wire::member::Role::Administrator,
        Role::Standard => wire::member::Role::Standard,
        Role::ReadOnly => wire::member::Role::ReadOnly,
        Role::Custom { .. } => wire::member::Role::Custom,
    };
    wire::Member {
        workspace_id: member.workspace_id.to_string(),
        console_account_id: member.console_account_id.to_string(),
        role: role.into(),
        reads_bills: member.role.reads_bills(),
        review_pending: member.review_pending,
        create_time: Some(timestamp(member.created_at)),
    }
}

/// The answers that hold a member as it is now.
macro_rules! member_answers {
    ($($name:ident = $answer:ident),+ $(,)?) => {$(
        pub fn $name(value: &Member) -> wire::$answer {
            wire::$answer { member: Some(member(value)) }
        }
    )+};
}

member_answers! {
    member_added = MemberServiceAddResponse,
    role_set = MemberServiceSetRoleResponse,
    reviewed = MemberServiceReviewResponse,
    removed = MemberServiceRemoveResponse,
}

pub fn changed(policy: &RetentionPolicy) -> wire::WorkspaceServiceSetRetentionResponse {
    wire::WorkspaceServiceSetRetentionResponse { retention_policy: Some(retention_policy(policy)) }
}

pub fn binding(binding: &Binding) -> wire::Binding {
    wire::Binding {
        workspace_id: binding.workspace_id.to_string(),
        billing_account_id: binding.billing_account_id.to_string(),
        currency_code: binding.currency.code().to_owned(),
        start_time: Some(timestamp(binding.effective_from)),
        end_time: binding.effective_until.map(timestamp),
    }
}

pub fn bound(value: &Binding) -> wire::BindingServiceBindResponse {
    wire::BindingServiceBindResponse { binding: Some(binding(value)) }
}

pub fn rebound(value: &Binding) -> wire::BindingServiceRebindResponse {
    wire::BindingServiceRebindResponse { binding: Some(binding(value)) }
}

pub fn unbound(value: &Binding) -> wire::BindingServiceUnbindResponse {
    wire::BindingServiceUnbindResponse { binding: Some(binding(value)) }
}

impl From<BindRejection> for Refusal {
    fn from(rejection: BindRejection) -> Self {
        match rejection {
            BindRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            BindRejection::NoBillingAccount(id) => Self::not_found("billing account", id),
            BindRejection::Code(refused) => (*refused).into(),
            BindRejection::NotBound(id) => {
                let message = format!("{id} has no billing account");
                Self::new(Code::FailedPrecondition, ErrorReason::WorkspaceNotBound, message)
                    .with("workspaceId", id)
            }
            BindRejection::NotATrial(id) => {
                let message = format!("{id} is commercial already");
                Self::new(Code::FailedPrecondition, ErrorReason::NotATrial, message).with("workspaceId", id)
            }
            BindRejection::Pending(id, at) => {
                let message = format!("a change of the billing account of {id} waits for {at}");
                Self::new(Code::FailedPrecondition, ErrorReason::BindingChangePending, message)
                    .with("workspaceId", id)
                    .with("effectiveTime", at)
            }
            BindRejection::Dissolved(id) => dissolved_workspace(id),
            BindRejection::Closed(user) => account_closed(user),
            BindRejection::EnterpriseDiffers => Self::new(
                Code::FailedPrecondition,
                ErrorReason::EnterpriseDiffers,
                "the two billing accounts are not verified as the same enterprise",
            ),
            BindRejection::Currency { required, given } => {
                let message = format!("the workspace is billed in {required}, the account is in {given}");
                Self::new(Code::FailedPrecondition, ErrorReason::CurrencyMismatch, message)
                    .with("required", required)
                    .with("given", given)
            }
            BindRejection::SubscriptionActive(id) => {
                let message = format!("the active subscription {id} settles the workspace");
                Self::new(Code::FailedPrecondition, ErrorReason::SubscriptionActive, message)
                    .with("rule", "SM-4")
                    .with("subscriptionId", id)
            }
            BindRejection::Arrears(arrears) => {
                let message = format!("the present billing account owes {}", arrears.printed());
                Self::new(Code::FailedPrecondition, ErrorReason::ArrearsOutstanding, message)
                    .with("required", arrears.printed())
                    .with("currency", arrears.currency().code())
            }
            BindRejection::Bound(bound) => {
                let message = format!("{} is bound to {}", bound.workspace_id, bound.billing_account_id);
                Self::new(Code::FailedPrecondition, ErrorReason::WorkspaceBound, message)
                    .with("workspaceId", bound.workspace_id)
                    .with("billingAccountId", bound.billing_account_id)
            }
        }
    }
}

impl From<RetentionRejection> for Refusal {
    fn from(rejection: RetentionRejection) -> Self {
        match rejection {
            RetentionRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            RetentionRejection::Trial(id) => {
                let message = format!("{id} is a trial, which keeps its data for 7 days");
                Self::new(Code::FailedPrecondition, ErrorReason::NotInTrial, message).with("workspaceId", id)
            }
            RetentionRejection::NotOffered(of, days) => {
                let offered: Vec<_> = of.offered_days().iter().map(ToString::to_string).collect();
                let offered = offered.join(" ");
                let name = data_type(of).as_str_name();
                let problem = format!("must be one of {offered} for {name}");
                Self::new(Code::InvalidArgument, ErrorReason::RetentionNotOffered, format!("days {problem}"))
                    .with("dataType", name)
                    .with("days", days)
                    .with("offered", offered)
                    .blaming("days", problem)
            }
        }
    }
}

fn dissolved_workspace(id: WorkspaceId) -> Refusal {
    let message = format!("{id} is dissolved");
    Refusal::new(Code::FailedPrecondition, ErrorReason::WorkspaceDissolved, message)
        .with("workspaceId", id)
        .with("state", "DISSOLVED")
}

fn account_closed(user: User) -> Refusal {
    Refusal::new(Code::FailedPrecondition, ErrorReason::AccountClosed, format!("{user} is closed"))
        .with("accountId", user)
}

impl From<OwnerClosed> for Refusal {
    fn from(OwnerClosed(owner): OwnerClosed) -> Self {
        account_closed(User::Console(owner))
    }
}

impl From<ChangeRejection> for Refusal {
    fn from(rejection: ChangeRejection) -> Self {
        match rejection {
            ChangeRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            ChangeRejection::Dissolved(id) => dissolved_workspace(id),
            ChangeRejection::NotRestorable(id) => {
                let message = format!("{id} is not dissolved, or its 7 days of staging are over");
                Self::new(Code::FailedPrecondition, ErrorReason::NotRestorable, message)
                    .with("workspaceId", id)
            }
            ChangeRejection::NoMember(account) => Self::not_found("member", account),
            ChangeRejection::Closed(user) => account_closed(user),
        }
    }
}

impl From<MemberRejection> for Refusal {
    fn from(rejection: MemberRejection) -> Self {
        match rejection {
            MemberRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            MemberRejection::Dissolved(id) => dissolved_workspace(id),
            MemberRejection::NoAccount(account) => Self::not_found("console account", account),
            MemberRejection::NoMember(account) => Self::not_found("member", account),
            MemberRejection::Exists(id, account) => {
                let message = format!("{account} is a member of {id} already, or owns it");
                Self::new(Code::AlreadyExists, ErrorReason::MemberExists, message)
                    .with("workspaceId", id)
                    .with("consoleAccountId", account)
            }
            MemberRejection::NothingToReview(account) => {
                let message = format!("no raise of {account} waits for a review");
                Self::new(Code::FailedPrecondition, ErrorReason::NothingToReview, message)
                    .with("consoleAccountId", account)
            }
        }
    }
}

impl From<RetireRejection> for Refusal {
    fn from(rejection: RetireRejection) -> Self {
        let (precondition, message) = match rejection {
            RetireRejection::Bound => ("WORKSPACE_BOUND", "a workspace is bound to it".to_owned()),
            RetireRejection::Restorable => {
                ("WORKSPACE_RESTORABLE", "a dissolved workspace can still be restored".to_owned())
            }
            RetireRejection::Owns => ("WORKSPACE_OWNED", "it owns a workspace".to_owned()),
            RetireRejection::NotSealed(day) => ("DAY_NOT_SEALED", format!("{day} is not sealed")),
        };
        Self::new(Code::FailedPrecondition, ErrorReason::ClosingRefused, message)
            .with("precondition", precondition)
    }
}
