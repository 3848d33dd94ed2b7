//! `UsageService`: what was counted, taken back, brought from elsewhere, and used over time.

use std::collections::BTreeSet;

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::{Currency, parse_decimal};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, date, timestamp};
use rust_decimal::Decimal;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_lookup_response::State;
use tallystick_proto::workspace::v1::usage_service_query_request::Granularity as WireGranularity;
use tallystick_proto::workspace::v1::{
    SealedLine, SuspectUsage, UsagePeriod, UsageRecord, UsageServiceGetOverviewRequest,
    UsageServiceGetOverviewResponse, UsageServiceImportSealedDayRequest, UsageServiceImportSealedDayResponse,
    UsageServiceListSuspectUsageRequest, UsageServiceListSuspectUsageResponse, UsageServiceLookupRequest,
    UsageServiceLookupResponse, UsageServiceQueryRequest, UsageServiceQueryResponse, UsageServiceVoidRequest,
    UsageServiceVoidResponse, VoidedQuantity,
};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::convert;
use super::usage::count;
use crate::app::App;
use crate::app::import_day::{ImportRejection, ImportedDay, import_day};
use crate::app::query_usage::{Asked, overview, query_usage};
use crate::app::read_usage::{self, Known};
use crate::app::void_usage::{VoidRejection, VoidRequest, void_usage};
use crate::domain::daily_usage::DailyLine;
use crate::domain::usage_period::Granularity;

const REASON_LENGTH_MAX: usize = 500;
const SOURCE_LENGTH_MAX: usize = 200;
const VOIDED_MAX: usize = 1_000;
const IMPORTED_LINES_MAX: usize = 1_000;
/// Lines of one answer: more would pass the size of a message.
const LINES_MAX: usize = 20_000;

fn event_id(violations: &mut Violations, field: impl Into<String>, text: &str) -> Option<Uuid> {
    let parsed = if text.len() == 36 { text.parse::<Uuid>().ok() } else { None };
    violations.check(field, parsed.ok_or("must be a UUID"))
}

pub async fn lookup(
    app: &App,
    request: UsageServiceLookupRequest,
) -> Result<UsageServiceLookupResponse, Status> {
    let mut violations = Violations::new();
    let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let event = event_id(&mut violations, "event_id", &request.event_id);
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let ((id, event), day) = violations.into_result(id.zip(event).zip(day))?;
    let known = read_usage::look_up(app, id, event, day).await.map_err(Failure::<Refusal>::from)?;
    let plain = |state: State| UsageServiceLookupResponse { state: state.into(), ..Default::default() };
    Ok(match known.ok_or_else(|| Refusal::not_found("workspace", id))? {
        Known::Forgotten => plain(State::Forgotten),
        Known::NotCounted => plain(State::NotCounted),
        Known::Counted(record, meter, void_reason) => UsageServiceLookupResponse {
            state: if void_reason.is_some() { State::Voided } else { State::Counted }.into(),
            late: record.is_late,
            void_reason: void_reason.unwrap_or_default(),
            record: Some(UsageRecord {
                workspace_id: id.to_string(),
                event_id: record.event_id.to_string(),
                event_time: Some(timestamp(record.event_time)),
                meter,
                dimension: record.dimension,
                quantity: record.quantity.to_string(),
                count_from_time: None,
            }),
        },
    })
}

pub async fn void(
    app: &App,
    request: Request<UsageServiceVoidRequest>,
) -> Result<UsageServiceVoidResponse, Status> {
    let caller = caller(&request)?.label();
    let request = request.into_inner();
    let mut violations = Violations::new();
    let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let reason = violations.text("reason", &request.reason, REASON_LENGTH_MAX);
    if !(1..=VOIDED_MAX).contains(&request.event_ids.len()) {
        violations
            .add("event_ids", format!("must be 1 to {VOIDED_MAX}, and are {}", request.event_ids.len()));
    }
    let mut event_ids = BTreeSet::new();
    for (index, text) in request.event_ids.iter().take(VOIDED_MAX).enumerate() {
        event_ids.extend(event_id(&mut violations, format!("event_ids[{index}]"), text));
    }
    let ((workspace_id, day), reason) = violations.into_result(id.zip(day).zip(reason))?;
    let confirmation = request.confirmation;
    let asked = VoidRequest { workspace_id, day, event_ids, reason, confirmation, caller };
    let voided = void_usage(app, &asked).await.map_err(|failure| failure.map(Refusal::from))?;
    let quantity = |((meter, dimension), quantity): ((String, String), i128)| VoidedQuantity {
        meter,
        dimension,
        quantity: quantity.to_string(),
    };
    Ok(UsageServiceVoidResponse {
        dry_run: voided.is_dry_run,
        voided_count: count(voided.voided_count),
        already_voided_count: count(voided.already_voided_count),
        unknown_event_ids: voided.unknown.iter().map(ToString::to_string).collect(),
        quantities: voided.quantities.into_iter().map(quantity).collect(),
        late: voided.is_late,
        confirmation: voided.confirmation,
    })
}

impl From<VoidRejection> for Refusal {
    fn from(rejection: VoidRejection) -> Self {
        match rejection {
            VoidRejection::UnknownWorkspace(id) => Self::not_found("workspace", id),
            VoidRejection::Forgotten(day) => {
                let mut violations = Violations::new();
                violations.add("usage_date", format!("{day} is more than 40 days ago: its records are gone"));
                violations.into()
            }
            VoidRejection::NotConfirmed(id) => {
                let message =
                    "the confirmation is not the one of a dry run of the same request; make one first";
                Self::new(Code::FailedPrecondition, ErrorReason::VoidNotConfirmed, message)
                    .with("workspaceId", id)
            }
        }
    }
}

fn granularity(violations: &mut Violations, value: i32) -> Option<Granularity> {
    let known = WireGranularity::try_from(value).map(|known| match known {
        WireGranularity::Hour => Granularity::Hour,
        WireGranularity::Unspecified | WireGranularity::Day => Granularity::Day,
        WireGranularity::Month => Granularity::Month,
    });
    violations.check("granularity", known.map_err(|_| "must be a known value"))
}

fn asked(request: UsageServiceQueryRequest) -> Result<Asked, Violations> {
    let mut violations = Violations::new();
    let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let first = violations.date("usage_date", request.usage_date.as_ref());
    let last = match &request.last_date {
        None => first,
        Some(last) => violations.date("last_date", Some(last)),
    };
    let granularity = granularity(&mut violations, request.granularity);
    if let (Some(first), Some(last), Some(granularity)) = (first, last, granularity) {
        let days_max = granularity.days_max();
        if last < first || last > first.plus_days(days_max - 1) {
            violations.add("last_date", format!("must be from usage_date on, of {days_max} days at most"));
        }
    }
    let range = first.zip(last).zip(granularity);
    let (workspace_id, ((first, last), granularity)) = violations.into_result(id.zip(range))?;
    let item = Some(request.item).filter(|item| !item.is_empty());
    Ok(Asked { workspace_id, first, last, granularity, item, dimension: request.dimension })
}

pub async fn query(
    app: &App,
    request: UsageServiceQueryRequest,
) -> Result<UsageServiceQueryResponse, Status> {
    let asked = asked(request)?;
    let used = query_usage(app, &asked).await?;
    let used = used.ok_or_else(|| Refusal::not_found("workspace", asked.workspace_id))?;
    let lines: usize = used.periods.iter().map(|period| period.lines.len()).sum();
    if lines > LINES_MAX {
        let mut violations = Violations::new();
        violations.add(
            "last_date",
            format!("gives {lines} lines, {LINES_MAX} at most; ask for fewer days or one item"),
        );
        violations.into_result(Some(()))?;
    }
    let period = |period: crate::domain::usage_period::UsedPeriod| UsagePeriod {
        start_time: Some(timestamp(period.start)),
        end_time: Some(timestamp(period.end)),
        lines: lines_of(period.lines),
    };
    Ok(UsageServiceQueryResponse {
        lines: lines_of(used.lines),
        sealed: used.is_sealed,
        periods: used.periods.into_iter().map(period).collect(),
    })
}

fn lines_of(lines: Vec<DailyLine>) -> Vec<SealedLine> {
    lines.into_iter().map(convert::line).collect()
}

pub async fn get_overview(
    app: &App,
    request: UsageServiceGetOverviewRequest,
) -> Result<UsageServiceGetOverviewResponse, Status> {
    let mut violations = Violations::new();
    let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let id = violations.into_result(id)?;
    let overview = overview(app, id).await?.ok_or_else(|| Refusal::not_found("workspace", id))?;
    Ok(UsageServiceGetOverviewResponse {
        usage_date: Some(date(overview.today)),
        today: lines_of(overview.today_lines),
        month_to_yesterday: lines_of(overview.month_lines),
    })
}

fn imported_line(violations: &mut Violations, index: usize, line: SealedLine) -> Option<DailyLine> {
    let field = format!("lines[{index}]");
    let quantity = parse_decimal(&line.quantity)
        .ok()
        .filter(|quantity| *quantity > Decimal::ZERO && quantity.scale() <= 2);
    if line.retention_days < 0 || !chassis::wire::is_word(&line.dimension, 0, 64) {
        violations.add(&field, "has a dimension or retention that cannot be");
    }
    let quantity =
        violations.check(field, quantity.ok_or("must have a quantity above 0 with at most 2 places"))?;
    let (item, dimension, retention_days) = (line.item, line.dimension, line.retention_days);
    Some(DailyLine { item, dimension, retention_days, quantity: quantity.normalize() })
}

fn imported(request: UsageServiceImportSealedDayRequest) -> Result<ImportedDay, Violations> {
    let mut violations = Violations::new();
    let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let payer = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
    let currency = violations.parse::<Currency>("currency_code", &request.currency_code);
    let source = violations.text("source", &request.source, SOURCE_LENGTH_MAX);
    if request.lines.len() > IMPORTED_LINES_MAX {
        violations.add("lines", format!("must be at most {IMPORTED_LINES_MAX}"));
    }
    let mut lines = Vec::new();
    let mut places = BTreeSet::new();
    for (index, line) in request.lines.into_iter().take(IMPORTED_LINES_MAX).enumerate() {
        if !places.insert((line.item.clone(), line.dimension.clone(), line.retention_days)) {
            violations.add(format!("lines[{index}]"), "is there twice");
        }
        lines.extend(imported_line(&mut violations, index, line));
    }
    let parsed = id.zip(day).zip(payer).zip(currency).zip(source);
    let ((((workspace_id, day), billing_account_id), currency), source) = violations.into_result(parsed)?;
    Ok(ImportedDay { workspace_id, day, billing_account_id, currency, source, lines })
}

pub async fn import_sealed_day(
    app: &App,
    request: UsageServiceImportSealedDayRequest,
) -> Result<UsageServiceImportSealedDayResponse, Status> {
    let stored = import_day(app, imported(request)?).await;
    let (sealed, digest) = stored.map_err(|failure| failure.map(Refusal::from))?;
    Ok(UsageServiceImportSealedDayResponse { sealed_day: Some(convert::sealed_day(&sealed, &digest)) })
}

impl From<ImportRejection> for Refusal {
    fn from(rejection: ImportRejection) -> Self {
        match rejection {
            ImportRejection::UnknownWorkspace(id) => Self::not_found("workspace", id),
            ImportRejection::MeasuredHere(day) => {
                let message =
                    format!("the workspace was made before {day} was over: that day is measured here");
                Self::new(Code::FailedPrecondition, ErrorReason::DayMeasuredHere, message)
                    .with("usageDate", day)
            }
            ImportRejection::Differs(day) => {
                let message = format!("the workspace has another sealed day of {day}");
                Self::new(Code::AlreadyExists, ErrorReason::SealedDayDiffers, message).with("usageDate", day)
            }
            ImportRejection::UnknownItem(item) => {
                let mut violations = Violations::new();
                violations.add("lines", format!("name the item {item}, which no meter feeds"));
                violations.into()
            }
        }
    }
}

pub async fn list_suspect_usage(
    app: &App,
    request: UsageServiceListSuspectUsageRequest,
) -> Result<UsageServiceListSuspectUsageResponse, Status> {
    let mut violations = Violations::new();
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let filters = format!("suspects {:?}", request.usage_date);
    let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
    let after = page.as_ref().and_then(|page| page.after_as::<After>(&mut violations));
    let (day, page) = violations.into_result(day.zip(page))?;
    let after = after.map(|After(workspace_id, event_id)| (workspace_id, event_id));
    let rows = read_usage::suspects(app, day, after, page.fetch_limit()).await;
    let last = |row: &crate::app::read_usage::Suspect| format!("{} {}", row.workspace_id, row.event_id);
    let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, last);
    let suspect = |row: crate::app::read_usage::Suspect| SuspectUsage {
        workspace_id: row.workspace_id.to_string(),
        event_id: row.event_id.to_string(),
        usage_date: Some(date(row.usage_date)),
        other_date: Some(date(row.other_date)),
    };
    Ok(UsageServiceListSuspectUsageResponse {
        suspects: paged.rows.into_iter().map(suspect).collect(),
        next_page_token: paged.next_page_token,
    })
}

/// Where a page of suspects ends.
struct After(WorkspaceId, Uuid);

impl std::str::FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place =
            text.split_once(' ').and_then(|(id, event)| Some(Self(id.parse().ok()?, event.parse().ok()?)));
        place.ok_or("must be one that was answered")
    }
}
