//! `AuditService`

use chassis::audit::{BATCH_MAX, Event, Kind};
use chassis::failure::Failure;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, timestamp};
use tallystick_proto::account::v1::audit_event::Kind as WireKind;
use tallystick_proto::account::v1::audit_service_server::AuditService;
use tallystick_proto::account::v1::{
    AuditEvent, AuditServiceListRequest, AuditServiceListResponse, AuditServiceRecordRequest,
    AuditServiceRecordResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::app::App;
use crate::app::keep_audit_trail::{Kept, keep, trail};

const OBJECTS_MAX: usize = 32;
const OBJECT_CHARACTERS_MAX: usize = 41;
const CALLER_CHARACTERS_MAX: usize = 200;
const METHOD_CHARACTERS_MAX: usize = 100;

pub struct Room {
    pub app: App,
}

fn kept(kept: &Kept) -> AuditEvent {
    let event = &kept.event;
    let kind = match Kind::from_word(&event.kind) {
        Some(Kind::Call) => WireKind::Call,
        Some(Kind::Change) => WireKind::Change,
        None => WireKind::Unspecified,
    };
    AuditEvent {
        event_id: event.event_id.to_string(),
        service: kept.service.clone(),
        kind: kind.into(),
        caller: event.caller.clone(),
        method: event.method.clone(),
        object_ids: event.object_ids.clone(),
        request_id: event.request_id.map(|id| id.to_string()).unwrap_or_default(),
        call_id: event.call_id.map(|id| id.to_string()).unwrap_or_default(),
        occur_time: Some(timestamp(event.occurred_at)),
    }
}

/// A UUID, or none where the text is empty.
fn optional_id(violations: &mut Violations, field: &str, text: &str) -> Option<Option<Uuid>> {
    if text.is_empty() { Some(None) } else { violations.parse::<Uuid>(field, text).map(Some) }
}

/// Whatever a token or a contract may name: what happened is not lost for the look of a name.
fn named(violations: &mut Violations, field: &str, text: &str, max: usize) -> Option<String> {
    let fits = (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let problem = format!("must be 1 to {max} characters, no control characters");
    violations.check(field, fits.then(|| text.to_owned()).ok_or(problem))
}

fn event(violations: &mut Violations, index: usize, event: &AuditEvent) -> Option<Event> {
    let field = |name: &str| format!("events[{index}].{name}");
    let event_id = violations.parse::<Uuid>(&field("event_id"), &event.event_id);
    let kind = match WireKind::try_from(event.kind) {
        Ok(WireKind::Change) => Some(Kind::Change),
        Ok(WireKind::Call) => Some(Kind::Call),
        Ok(WireKind::Unspecified) | Err(_) => {
            violations.add(field("kind"), "must be a known value, not unspecified");
            None
        }
    };
    let caller = named(violations, &field("caller"), &event.caller, CALLER_CHARACTERS_MAX);
    let method = named(violations, &field("method"), &event.method, METHOD_CHARACTERS_MAX);
    let fits = event.object_ids.len() <= OBJECTS_MAX
        && event.object_ids.iter().all(|id| (1..=OBJECT_CHARACTERS_MAX).contains(&id.len()));
    if !fits {
        violations.add(field("object_ids"), format!("must be at most {OBJECTS_MAX}, each an id"));
    }
    let request_id = optional_id(violations, &field("request_id"), &event.request_id);
    let call_id = optional_id(violations, &field("call_id"), &event.call_id);
    let occurred_at = violations.time(&field("occur_time"), event.occur_time.as_ref());
    Some(Event {
        event_id: event_id?,
        kind: kind?.word().to_owned(),
        caller: caller?,
        method: method?,
        object_ids: event.object_ids.clone(),
        request_id: request_id?,
        call_id: call_id?,
        occurred_at: occurred_at?,
    })
}

#[tonic::async_trait]
impl AuditService for Room {
    async fn list(
        &self,
        request: Request<AuditServiceListRequest>,
    ) -> Result<Response<AuditServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        if request.object_id.chars().count() > OBJECT_CHARACTERS_MAX {
            violations.add("object_id", "must be an id with its prefix");
        }
        if request.caller.chars().count() > CALLER_CHARACTERS_MAX {
            violations.add("caller", format!("must be at most {CALLER_CHARACTERS_MAX} characters"));
        }
        let filters = format!("audit {} {}", request.object_id, request.caller);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let before = page.as_ref().and_then(|page| page.after_as::<Uuid>(&mut violations));
        let page = violations.into_result(page)?;
        let object = Some(request.object_id.as_str()).filter(|id| !id.is_empty());
        let caller = Some(request.caller.as_str()).filter(|caller| !caller.is_empty());
        let rows = trail(&self.app, (object, caller), before, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |kept| kept.event.event_id.to_string());
        Ok(Response::new(AuditServiceListResponse {
            events: paged.rows.iter().map(kept).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn record(
        &self,
        request: Request<AuditServiceRecordRequest>,
    ) -> Result<Response<AuditServiceRecordResponse>, Status> {
        let service = caller(&request)?.name;
        let events = request.into_inner().events;
        let mut violations = Violations::new();
        if !(1..=BATCH_MAX).contains(&events.len()) {
            violations.add("events", format!("must be 1 to {BATCH_MAX}"));
            return Err(violations.into());
        }
        let events: Vec<Option<Event>> =
            events.iter().enumerate().map(|(index, sent)| event(&mut violations, index, sent)).collect();
        let events = violations.into_result(events.into_iter().collect::<Option<Vec<_>>>())?;
        keep(&self.app, &service, &events).await.map_err(Failure::<Refusal>::from)?;
        Ok(Response::new(AuditServiceRecordResponse {}))
    }
}
