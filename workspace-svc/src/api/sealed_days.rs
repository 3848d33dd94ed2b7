//! `UsageService`: what a day is sealed to, and what could not be sealed of it.

use std::collections::HashSet;

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_stream_sealed_days_response::Part;
use tallystick_proto::workspace::v1::{
    UsageServiceListSealFailuresRequest, UsageServiceListSealFailuresResponse,
    UsageServiceStreamSealedDaysRequest, UsageServiceStreamSealedDaysResponse,
};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::convert;
use crate::app::App;
use crate::app::read_usage::{self, Cursor};

/// Sealed days, or failures, per look.
const PAGE: i64 = 500;
/// Messages that wait for a slow reader.
const WAITING_MAX: usize = 64;

type Sent = Result<UsageServiceStreamSealedDaysResponse, Status>;

pub async fn stream(
    app: &App,
    request: UsageServiceStreamSealedDaysRequest,
) -> Result<mpsc::Receiver<Sent>, Status> {
    let mut violations = Violations::new();
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let day = violations.into_result(day)?;
    let after = resume(day, &request.resume_token)?;
    let manifest = read_usage::manifest(app, day).await.map_err(Failure::<Refusal>::from)?;
    let Some(manifest) = manifest else {
        let message = format!("the billing day {day} has no manifest; seal it first");
        let refusal = Refusal::new(Code::FailedPrecondition, ErrorReason::DayNotSealed, message);
        return Err(refusal.with("usageDate", day).into());
    };
    let first = Part::Manifest(convert::manifest(&manifest));
    let (out, stream) = mpsc::channel(WAITING_MAX);
    let app = app.clone();
    tokio::spawn(async move {
        if let Err(status) = send(&app, day, first, after, &out).await {
            // The reader may be gone; then nobody needs to be told.
            let _ = out.send(Err(status)).await;
        }
    });
    Ok(stream)
}

/// The manifest, the failures, the sealed days, until the reader is gone. A workspace that is sealed meanwhile is not lost: what is no failure any more
/// when failures are read is among the sealed days, which are read after them. Nor does it come twice: what was sent as a failure stays one.
async fn send(
    app: &App,
    day: UsageDate,
    manifest: Part,
    after: Option<Cursor>,
    out: &mpsc::Sender<Sent>,
) -> Result<(), Status> {
    if !put(out, manifest, String::new()).await {
        return Ok(());
    }
    let mut failed = HashSet::new();
    let mut last = None;
    loop {
        let page = read_usage::seal_failures(app, day, last, PAGE).await;
        let page = page.map_err(Failure::<Refusal>::from)?;
        if page.is_empty() {
            break;
        }
        for failure in page {
            last = Some(failure.workspace_id);
            failed.insert(failure.workspace_id);
            if !put(out, Part::SealFailure(convert::seal_failure(failure)), String::new()).await {
                return Ok(());
            }
        }
    }
    let mut last = after;
    loop {
        let page = read_usage::sealed_days(app, day, last, PAGE).await;
        let page = page.map_err(Failure::<Refusal>::from)?;
        if page.is_empty() {
            return Ok(());
        }
        for (sealed, digest) in &page {
            let cursor = Cursor {
                billing_account_id: sealed.billing_account_id,
                bound_at: sealed.bound_at,
                workspace_id: sealed.workspace_id,
            };
            last = Some(cursor);
            if failed.contains(&sealed.workspace_id) {
                continue;
            }
            let part = Part::SealedDay(convert::sealed_day(sealed, digest));
            if !put(out, part, resume_token(&cursor, day)).await {
                return Ok(());
            }
        }
    }
}

/// False when the reader is gone.
async fn put(out: &mpsc::Sender<Sent>, part: Part, resume_token: String) -> bool {
    let message = UsageServiceStreamSealedDaysResponse { part: Some(part), resume_token };
    out.send(Ok(message)).await.is_ok()
}

pub async fn list_failures(
    app: &App,
    request: UsageServiceListSealFailuresRequest,
) -> Result<UsageServiceListSealFailuresResponse, Status> {
    let mut violations = Violations::new();
    let day = violations.date("usage_date", request.usage_date.as_ref());
    let filters = format!("seal failures {:?}", request.usage_date);
    let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
    let after = page.as_ref().and_then(|page| page.after_as::<WorkspaceId>(&mut violations));
    let (day, page) = violations.into_result(day.zip(page))?;
    let rows = read_usage::seal_failures(app, day, after, page.fetch_limit()).await;
    let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.workspace_id.to_string());
    Ok(UsageServiceListSealFailuresResponse {
        seal_failures: paged.rows.into_iter().map(convert::seal_failure).collect(),
        next_page_token: paged.next_page_token,
    })
}

/// Where a reader of sealed days goes on.
fn resume(day: UsageDate, token: &str) -> Result<Option<Cursor>, Violations> {
    if token.is_empty() {
        return Ok(None);
    }
    let mut parts = token.split('/');
    let mut next = || parts.next();
    let cursor = (|| {
        let of_day = next()? == day.to_string();
        let payer = next()?.parse().ok()?;
        let bound_at = time::OffsetDateTime::from_unix_timestamp(next()?.parse().ok()?).ok()?;
        let workspace_id = next()?.parse().ok()?;
        of_day.then_some(Cursor { billing_account_id: payer, bound_at, workspace_id })
    })();
    let mut violations = Violations::new();
    let cursor = violations.check("resume_token", cursor.ok_or("must be one that was answered for this day"));
    violations.into_result(cursor).map(Some)
}

/// The token of a sealed day: the key that the stream is in order of. Bindings begin at full hours.
fn resume_token(cursor: &Cursor, day: UsageDate) -> String {
    let bound_at = cursor.bound_at.unix_timestamp();
    format!("{day}/{}/{bound_at}/{}", cursor.billing_account_id, cursor.workspace_id)
}
