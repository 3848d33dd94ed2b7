//! Domain to wire, and rejections to refusals.

use chassis::money::print_decimal;
use chassis::status::Refusal;
use chassis::wire::{date, hex, timestamp};
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1 as wire;
use time::OffsetDateTime;
use tonic::Code;

use crate::app::bind_workspace::BindRejection;
use crate::app::change_retention::RetentionRejection;
use crate::app::create_workspace::Configured;
use crate::app::seal_day::SealRejection;
use crate::domain::binding::Binding;
use crate::domain::daily_usage::DailyLine;
use crate::domain::meter::{Meter, Reduction};
use crate::domain::retention::{DataType, RetentionPolicy};
use crate::domain::sealed_day::{Manifest, SealedDay};
use crate::domain::usage_record::UsageRefusal;

pub fn data_type(data_type: DataType) -> wire::DataType {
    match data_type {
        DataType::Metrics => wire::DataType::Metrics,
        DataType::Logs => wire::DataType::Logs,
        DataType::Forwarding => wire::DataType::Forwarding,
        DataType::Events => wire::DataType::Events,
        DataType::ApmTrace => wire::DataType::ApmTrace,
        DataType::ApmProfile => wire::DataType::ApmProfile,
        DataType::Rum => wire::DataType::Rum,
        DataType::SecurityCheck => wire::DataType::SecurityCheck,
    }
}

pub fn retention_policy(policy: &RetentionPolicy) -> wire::RetentionPolicy {
    wire::RetentionPolicy {
        data_type: data_type(policy.data_type).into(),
        dimension: policy.dimension.clone(),
        days: policy.days,
        effective_time: Some(timestamp(policy.effective_from)),
    }
}

/// A workspace with the policies that hold now: of each data type and index the newest that is effective.
pub fn workspace(configured: &Configured, now: OffsetDateTime) -> wire::Workspace {
    let workspace = &configured.workspace;
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
    }
}

pub fn created(configured: &Configured) -> wire::WorkspaceServiceCreateResponse {
    let now = configured.workspace.created_at;
    wire::WorkspaceServiceCreateResponse { workspace: Some(workspace(configured, now)) }
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

pub fn meter(meter: &Meter) -> wire::Meter {
    let reduction = match meter.reduction {
        Reduction::Sum => wire::meter::Reduction::Sum,
        Reduction::Max => wire::meter::Reduction::Max,
    };
    let data_type = meter.data_type.map_or(wire::DataType::Unspecified, data_type);
    wire::Meter {
        meter: meter.meter.clone(),
        item: meter.item.clone(),
        reduction: reduction.into(),
        divisor: meter.divisor,
        data_type: data_type.as_str_name().to_owned(),
        start_date: Some(date(meter.effective_from)),
        end_date: meter.effective_until.map(date),
    }
}

pub fn line(line: &DailyLine) -> wire::SealedLine {
    wire::SealedLine {
        item: line.item.clone(),
        dimension: line.dimension.clone(),
        retention_days: line.retention_days,
        quantity: print_decimal(line.quantity),
    }
}

/// A sealed day with more lines than this cannot be billed, and is listed as a failure by their number; the rest is not sent.
const SEALED_LINES_MAX: usize = 20_001;

pub fn sealed_day(day: &SealedDay, digest: &[u8]) -> wire::SealedDay {
    wire::SealedDay {
        workspace_id: day.workspace_id.to_string(),
        usage_date: Some(date(day.usage_date)),
        billing_account_id: day.billing_account_id.to_string(),
        currency_code: day.currency.code().to_owned(),
        site_class: day.site_class.to_wire(),
        binding_time: Some(timestamp(day.bound_at)),
        lines: day.lines.iter().take(SEALED_LINES_MAX).map(line).collect(),
        digest: hex(digest),
    }
}

pub fn manifest(manifest: &Manifest) -> wire::Manifest {
    wire::Manifest {
        usage_date: Some(date(manifest.usage_date)),
        workspace_count: manifest.workspace_count,
        digest: hex(&manifest.digest),
        close_time: Some(timestamp(manifest.closed_at)),
        seal_time: Some(timestamp(manifest.sealed_at)),
    }
}

pub fn refusals(refusals: Vec<(usize, UsageRefusal)>) -> Vec<wire::UsageRefusal> {
    refusals.into_iter().map(|(index, refusal)| usage_refusal(index, refusal)).collect()
}

fn usage_refusal(index: usize, refusal: UsageRefusal) -> wire::UsageRefusal {
    let (reason, message) = match refusal {
        UsageRefusal::Malformed { field, problem } => {
            (ErrorReason::RecordMalformed, format!("{field} {problem}"))
        }
        UsageRefusal::UnknownWorkspace => {
            (ErrorReason::UnknownWorkspace, "there is no such workspace".to_owned())
        }
        UsageRefusal::WorkspaceClosed => {
            (ErrorReason::WorkspaceClosed, "the workspace took no usage at the event's time".to_owned())
        }
        UsageRefusal::UnknownMeter => {
            (ErrorReason::UnknownMeter, "there is no such meter on that day".to_owned())
        }
        UsageRefusal::TooOld => (ErrorReason::TooOld, "more than 35 days old".to_owned()),
        UsageRefusal::TooFarAhead => (ErrorReason::TooFarAhead, "more than 5 minutes ahead".to_owned()),
        UsageRefusal::EventIdReused => (
            ErrorReason::EventIdReused,
            "the event id was counted on that day with another content".to_owned(),
        ),
        UsageRefusal::SourceMode => (
            ErrorReason::SourceMode,
            "the item is fed the other way, by points or by records, on that day".to_owned(),
        ),
        UsageRefusal::RevisionReused => {
            (ErrorReason::PointRevisionReused, "the revision was reported with another quantity".to_owned())
        }
    };
    wire::UsageRefusal { index: i32::try_from(index).unwrap_or(i32::MAX), reason: reason.into(), message }
}

impl From<BindRejection> for Refusal {
    fn from(rejection: BindRejection) -> Self {
        match rejection {
            BindRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            BindRejection::NoBillingAccount(id) => Self::not_found("billing account", id),
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

impl From<SealRejection> for Refusal {
    fn from(rejection: SealRejection) -> Self {
        match rejection {
            SealRejection::NotEnded { day, now } => {
                let message = format!("the billing day {day} ends at {}, and it is {now}", day.end());
                Self::new(Code::FailedPrecondition, ErrorReason::DayNotEnded, message)
                    .with("usageDate", day)
                    .with("now", now)
            }
        }
    }
}
