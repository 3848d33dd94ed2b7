//! What operators do about work that is not done: events that do not arrive, and whatever else a service has of its own. They see it, have it tried again,
//! and park it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sqlx::PgPool;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::ops::v1::work::State;
use tallystick_proto::ops::v1::work_service_server::WorkService;
use tallystick_proto::ops::v1::{
    Work, WorkServiceListRequest, WorkServiceListResponse, WorkServiceParkRequest, WorkServiceParkResponse,
    WorkServiceRetryRequest, WorkServiceRetryResponse,
};
use time::OffsetDateTime;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::db::Schema;
use crate::failure::Failure;
use crate::page::Page;
use crate::status::Refusal;
use crate::wire::{Violations, timestamp};

const OUTBOX: &str = "outbox";
/// The longest first part of an id.
const PREFIX_LENGTH_MAX: usize = 32;
const REASON_CHARACTERS_MAX: usize = 200;

const RETRY: &str = "update {schema}.outbox set parked_at = null, attempts = 0, next_attempt_at = '-infinity' \
    where aggregate_id = $1 and destination = $2 and aggregate_seq = $3 and $4 = '' \
    returning aggregate_id, destination, aggregate_seq, kind, attempts, last_error, created_at, parked_at";
const PARK: &str = "update {schema}.outbox set parked_at = coalesce(parked_at, clock_timestamp()), \
      last_error = case when parked_at is null then 'parked by an operator: ' || $4 else last_error end \
    where aggregate_id = $1 and destination = $2 and aggregate_seq = $3 \
    returning aggregate_id, destination, aggregate_seq, kind, attempts, last_error, created_at, parked_at";

/// A piece of work of a service's own.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Its id, within its source.
    pub id: Uuid,
    /// What it is.
    pub kind: String,
    /// How often it was tried in vain.
    pub attempts: i32,
    /// What the last try said.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// When it was parked.
    pub parked_at: Option<OffsetDateTime>,
}

/// What a source answers.
pub type Answered<'a, T> = Pin<Box<dyn Future<Output = sqlx::Result<T>> + Send + 'a>>;

/// Work of a service's own, besides its outbox.
pub trait WorkSource: Send + Sync {
    /// What its ids begin with: "mail". Lower-case letters.
    fn prefix(&self) -> &'static str;
    /// Some of it after an id, in order of id; only what is parked, or is not, when that is said.
    fn list(&self, parked: Option<bool>, after: Option<Uuid>, limit: i64) -> Answered<'_, Vec<Piece>>;
    /// Has a piece tried again. None: it is not there.
    fn retry(&self, id: Uuid) -> Answered<'_, Option<Piece>>;
    /// Parks a piece, unless it is parked. None: it is not there.
    fn park(&self, id: Uuid, reason: String) -> Answered<'_, Option<Piece>>;
}

/// What a service has of it.
pub type WorkSources = Arc<[Arc<dyn WorkSource>]>;

/// `tallystick.ops.v1.WorkService`.
pub struct WorkRoom {
    /// The pool of the service.
    pub pool: PgPool,
    /// Its schema.
    pub schema: Schema,
    /// What it has besides its outbox.
    pub sources: WorkSources,
}

/// Which piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WorkId {
    /// An event of the outbox.
    Event(EventId),
    /// A piece of a source.
    Piece(String, Uuid),
}

/// Which event of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EventId {
    destination: String,
    aggregate_id: Uuid,
    aggregate_seq: i64,
}

impl std::fmt::Display for WorkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(event) => {
                write!(f, "{OUTBOX}/{}/{}/{}", event.destination, event.aggregate_id, event.aggregate_seq)
            }
            Self::Piece(prefix, id) => write!(f, "{prefix}/{id}"),
        }
    }
}

impl std::str::FromStr for WorkId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = "must be the id of a piece of work, as List answers it";
        let parts: Vec<&str> = text.split('/').collect();
        let (destination, aggregate_id, seq) = match parts.as_slice() {
            [OUTBOX, destination, aggregate_id, seq] => (destination, aggregate_id, seq),
            [prefix, id] if *prefix != OUTBOX => {
                let is_word = (1..=PREFIX_LENGTH_MAX).contains(&prefix.len())
                    && prefix.bytes().all(|byte| byte.is_ascii_lowercase());
                let id = id.parse().ok().filter(|_| is_word).ok_or(problem)?;
                return Ok(Self::Piece((*prefix).to_owned(), id));
            }
            _ => return Err(problem),
        };
        let named = (1..=64).contains(&destination.len())
            && destination.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let seq: i64 = seq.parse().ok().filter(|seq| *seq > 0).ok_or(problem)?;
        let aggregate_id = aggregate_id.parse().map_err(|_| problem)?;
        if !named {
            return Err(problem);
        }
        Ok(Self::Event(EventId { destination: (*destination).to_owned(), aggregate_id, aggregate_seq: seq }))
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    aggregate_id: Uuid,
    destination: String,
    aggregate_seq: i64,
    kind: String,
    attempts: i32,
    last_error: Option<String>,
    created_at: OffsetDateTime,
    parked_at: Option<OffsetDateTime>,
}

impl Row {
    fn id(&self) -> WorkId {
        let Self { aggregate_id, aggregate_seq, .. } = *self;
        WorkId::Event(EventId { destination: self.destination.clone(), aggregate_id, aggregate_seq })
    }

    fn work(&self) -> Work {
        let state = if self.parked_at.is_some() { State::Parked } else { State::Waiting };
        Work {
            work_id: self.id().to_string(),
            kind: self.kind.clone(),
            state: state.into(),
            attempts: self.attempts,
            last_error: self.last_error.clone().unwrap_or_default(),
            create_time: Some(timestamp(self.created_at)),
            park_time: self.parked_at.map(timestamp),
        }
    }
}

fn piece(prefix: &str, piece: Piece) -> Work {
    let state = if piece.parked_at.is_some() { State::Parked } else { State::Waiting };
    Work {
        work_id: WorkId::Piece(prefix.to_owned(), piece.id).to_string(),
        kind: piece.kind,
        state: state.into(),
        attempts: piece.attempts,
        last_error: piece.last_error.unwrap_or_default(),
        create_time: Some(timestamp(piece.created_at)),
        park_time: piece.parked_at.map(timestamp),
    }
}

fn not_there(id: &WorkId) -> Failure<Refusal> {
    let message = "the piece of work is not there: it is done, or never was";
    let refusal = Refusal::new(Code::NotFound, ErrorReason::WorkNotFound, message);
    Failure::Rejected(refusal.with("workId", id))
}

impl WorkRoom {
    /// The outbox first, then source after source.
    async fn list(&self, parked: Option<bool>, after: Option<WorkId>, limit: i64) -> sqlx::Result<Vec<Work>> {
        let (event, mut piece_after) = match after {
            None => (Some(None), None),
            Some(WorkId::Event(event)) => (Some(Some(event)), None),
            Some(WorkId::Piece(prefix, id)) => (None, Some((prefix, id))),
        };
        let mut work = Vec::new();
        if let Some(after) = event {
            work.extend(self.events(parked, after, limit).await?.iter().map(Row::work));
        }
        for source in self.sources.iter() {
            let after = match &piece_after {
                Some((prefix, _)) if prefix != source.prefix() => continue,
                Some((_, id)) => Some(*id),
                None => None,
            };
            piece_after = None;
            let left = limit - i64::try_from(work.len()).unwrap_or(limit);
            if left > 0 {
                let pieces = source.list(parked, after, left).await?;
                work.extend(pieces.into_iter().map(|found| piece(source.prefix(), found)));
            }
        }
        Ok(work)
    }

    fn source(&self, prefix: &str) -> Option<&Arc<dyn WorkSource>> {
        self.sources.iter().find(|source| source.prefix() == prefix)
    }

    async fn events(
        &self,
        parked: Option<bool>,
        after: Option<EventId>,
        limit: i64,
    ) -> sqlx::Result<Vec<Row>> {
        let sql = self.schema.sql(
            "select aggregate_id, destination, aggregate_seq, kind, attempts, last_error, created_at, parked_at \
             from {schema}.outbox where ($1::boolean is null or (parked_at is not null) = $1) \
               and ($2::uuid is null or (aggregate_id, destination, aggregate_seq) > ($2, $3, $4)) \
             order by aggregate_id, destination, aggregate_seq limit $5",
        );
        let (aggregate_id, destination, seq) = match after {
            Some(id) => (Some(id.aggregate_id), id.destination, id.aggregate_seq),
            None => (None, String::new(), 0),
        };
        let query = sqlx::query_as(sql).bind(parked).bind(aggregate_id).bind(destination).bind(seq);
        query.bind(limit).fetch_all(&self.pool).await
    }

    /// Changes a row by one of the statements below.
    async fn change(
        &self,
        id: &EventId,
        sql: &'static str,
        reason: &str,
    ) -> Result<Option<Work>, Failure<Refusal>> {
        let sql = self.schema.sql(sql);
        let query = sqlx::query_as::<_, Row>(sql).bind(id.aggregate_id).bind(&id.destination);
        let row = query.bind(id.aggregate_seq).bind(reason).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.work()))
    }

    async fn try_again(&self, id: &WorkId) -> Result<Work, Failure<Refusal>> {
        let work = match id {
            WorkId::Event(event) => self.change(event, RETRY, "").await?,
            WorkId::Piece(prefix, piece_id) => match self.source(prefix) {
                Some(source) => source.retry(*piece_id).await?.map(|found| piece(prefix, found)),
                None => None,
            },
        };
        work.ok_or_else(|| not_there(id))
    }

    async fn set_aside(&self, id: &WorkId, reason: &str) -> Result<Work, Failure<Refusal>> {
        let work = match id {
            WorkId::Event(event) => self.change(event, PARK, reason).await?,
            WorkId::Piece(prefix, piece_id) => match self.source(prefix) {
                Some(source) => {
                    let said = format!("parked by an operator: {reason}");
                    source.park(*piece_id, said).await?.map(|found| piece(prefix, found))
                }
                None => None,
            },
        };
        work.ok_or_else(|| not_there(id))
    }
}

#[tonic::async_trait]
impl WorkService for WorkRoom {
    async fn list(
        &self,
        request: Request<WorkServiceListRequest>,
    ) -> Result<Response<WorkServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let parked = match State::try_from(request.state) {
            Ok(State::Unspecified) => Some(None),
            Ok(State::Waiting) => Some(Some(false)),
            Ok(State::Parked) => Some(Some(true)),
            Err(_) => {
                violations.add("state", "must be a known value");
                None
            }
        };
        let filter = format!("work {}", request.state);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (parked, page) = violations.into_result(parked.zip(page))?;
        let rows = Self::list(self, parked, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |work| work.work_id.clone());
        Ok(Response::new(WorkServiceListResponse {
            work: paged.rows,
            next_page_token: paged.next_page_token,
        }))
    }

    async fn retry(
        &self,
        request: Request<WorkServiceRetryRequest>,
    ) -> Result<Response<WorkServiceRetryResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<WorkId>("work_id", &request.get_ref().work_id);
        let id = violations.into_result(id)?;
        let work = self.try_again(&id).await?;
        tracing::info!(work_id = %id, "an operator has it tried again");
        Ok(Response::new(WorkServiceRetryResponse { work: Some(work) }))
    }

    async fn park(
        &self,
        request: Request<WorkServiceParkRequest>,
    ) -> Result<Response<WorkServiceParkResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<WorkId>("work_id", &request.work_id);
        let reason = violations.text("reason", &request.reason, REASON_CHARACTERS_MAX);
        let (id, reason) = violations.into_result(id.zip(reason))?;
        let work = self.set_aside(&id, &reason).await?;
        tracing::warn!(work_id = %id, reason, "an operator has parked it");
        Ok(Response::new(WorkServiceParkResponse { work: Some(work) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_printed_and_nothing_else_is() {
        let event = EventId {
            destination: "settlement-svc".into(),
            aggregate_id: Uuid::from_u128(7),
            aggregate_seq: 12,
        };
        for id in [WorkId::Event(event), WorkId::Piece("mail".into(), Uuid::from_u128(8))] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let uuid = Uuid::from_u128(7);
        for wrong in [
            String::new(),
            format!("mail/account-svc/{uuid}/1"),
            format!("outbox/{uuid}"),
            format!("/{uuid}"),
            format!("MAIL/{uuid}"),
            "mail/x".to_owned(),
            format!("outbox//{uuid}/1"),
            format!("outbox/a\0b/{uuid}/1"),
            format!("outbox/account-svc/{uuid}/0"),
            "outbox/account-svc/x/1".to_owned(),
            format!("outbox/account-svc/{uuid}/1/2"),
        ] {
            assert!(wrong.parse::<WorkId>().is_err(), "{wrong}");
        }
    }
}
