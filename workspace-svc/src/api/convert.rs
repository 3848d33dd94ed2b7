//! Usage and sealed days to wire, and rejections to refusals.

use chassis::money::print_decimal;
use chassis::status::Refusal;
use chassis::wire::{date, hex, timestamp};
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1 as wire;
use tonic::Code;

use crate::app::ingest_usage::IngestRejection;
use crate::app::seal_day::SealRejection;
use crate::domain::daily_usage::DailyLine;
use crate::domain::meter::{Counting, Meter, Meters, Reduction, Rounding};
use crate::domain::retention::DataType;
use crate::domain::seal_failure::{Reason, SealFailure};
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

pub fn meter(meter: &Meter, meters: &Meters) -> wire::Meter {
    let counting = match meter.counting {
        Counting::Quantity => wire::meter::Counting::Quantity,
        Counting::DistinctDay => wire::meter::Counting::DistinctDay,
        Counting::DistinctHour => wire::meter::Counting::DistinctHour,
    };
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
        trial_quota: meter.trial_quota,
        counting: counting.into(),
        measure: meters.get(meter.measure_id).map(|measure| measure.meter.clone()).unwrap_or_default(),
        weight: meter.weight,
        step: meter.steps.map_or(0, |steps| steps.step),
        free_quantity: meter.steps.map_or(0, |steps| steps.free),
        rounds_up: meter.steps.is_some_and(|steps| steps.rounding == Rounding::Up),
        minimum: meter.steps.map_or(0, |steps| steps.minimum),
    }
}

pub fn line(line: DailyLine) -> wire::SealedLine {
    wire::SealedLine {
        item: line.item,
        dimension: line.dimension,
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
        lines: day.lines.iter().take(SEALED_LINES_MAX).cloned().map(line).collect(),
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
        failure_count: manifest.failure_count,
    }
}

pub fn seal_failure(failure: SealFailure) -> wire::SealFailure {
    let reason = match failure.problem.reason {
        Reason::NoPayer => wire::seal_failure::Reason::NoPayer,
        Reason::TooLarge => wire::seal_failure::Reason::TooLarge,
        Reason::Fault => wire::seal_failure::Reason::Fault,
    };
    wire::SealFailure {
        workspace_id: failure.workspace_id.to_string(),
        reason: reason.into(),
        problem: failure.problem.text,
        failed_time: Some(timestamp(failure.failed_at)),
        tries: failure.tries,
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
        UsageRefusal::TrialQuotaUsedUp { meter, quota } => (
            ErrorReason::TrialQuotaUsedUp,
            format!(
                "does not fit into the trial's {quota} of the meter {meter}; the quota of a day begins anew at 00:00"
            ),
        ),
        UsageRefusal::NotInTrial { item } => {
            (ErrorReason::NotInTrial, format!("the trial does not have the item {item}"))
        }
        UsageRefusal::NotSold { item, book } => {
            let (currency, class) = (book.currency, book.site_class.word());
            let message =
                format!("the price book in {currency} for {class} does not sell {item} on that day");
            (ErrorReason::ItemNotSold, message)
        }
        UsageRefusal::RevisionReused => {
            (ErrorReason::PointRevisionReused, "the revision was reported with another quantity".to_owned())
        }
    };
    wire::UsageRefusal { index: i32::try_from(index).unwrap_or(i32::MAX), reason: reason.into(), message }
}

impl From<IngestRejection> for Refusal {
    fn from(rejection: IngestRejection) -> Self {
        match rejection {
            IngestRejection::LineFull { records_max } => {
                let message = format!("{records_max} records of this caller wait already; wait and repeat");
                Self::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, message)
                    .with("limit", records_max)
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
