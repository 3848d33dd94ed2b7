//! What operators do about events that do not arrive: they see them, have them tried again, and park them.

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

const KIND: &str = "outbox";
const REASON_CHARACTERS_MAX: usize = 200;

const RETRY: &str = "update {schema}.outbox set parked_at = null, attempts = 0, next_attempt_at = '-infinity' \
    where aggregate_id = $1 and destination = $2 and aggregate_seq = $3 and $4 = '' \
    returning aggregate_id, destination, aggregate_seq, kind, attempts, last_error, created_at, parked_at";
const PARK: &str = "update {schema}.outbox set parked_at = coalesce(parked_at, clock_timestamp()), \
      last_error = case when parked_at is null then 'parked by an operator: ' || $4 else last_error end \
    where aggregate_id = $1 and destination = $2 and aggregate_seq = $3 \
    returning aggregate_id, destination, aggregate_seq, kind, attempts, last_error, created_at, parked_at";

/// `tallystick.ops.v1.WorkService`.
pub struct WorkRoom {
    /// The pool of the service.
    pub pool: PgPool,
    /// Its schema.
    pub schema: Schema,
}

/// Which event of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WorkId {
    destination: String,
    aggregate_id: Uuid,
    aggregate_seq: i64,
}

impl std::fmt::Display for WorkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{KIND}/{}/{}/{}", self.destination, self.aggregate_id, self.aggregate_seq)
    }
}

impl std::str::FromStr for WorkId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = "must be the id of a piece of work, as List answers it";
        let parts: Vec<&str> = text.split('/').collect();
        let [KIND, destination, aggregate_id, seq] = parts.as_slice() else { return Err(problem) };
        let named = (1..=64).contains(&destination.len())
            && destination.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let seq: i64 = seq.parse().ok().filter(|seq| *seq > 0).ok_or(problem)?;
        let aggregate_id = aggregate_id.parse().map_err(|_| problem)?;
        if !named {
            return Err(problem);
        }
        Ok(Self { destination: (*destination).to_owned(), aggregate_id, aggregate_seq: seq })
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
        WorkId { destination: self.destination.clone(), aggregate_id, aggregate_seq }
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

impl WorkRoom {
    async fn list(&self, parked: Option<bool>, after: Option<WorkId>, limit: i64) -> sqlx::Result<Vec<Row>> {
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
    async fn change(&self, id: &WorkId, sql: &'static str, reason: &str) -> Result<Work, Failure<Refusal>> {
        let sql = self.schema.sql(sql);
        let query = sqlx::query_as::<_, Row>(sql).bind(id.aggregate_id).bind(&id.destination);
        let row = query.bind(id.aggregate_seq).bind(reason).fetch_optional(&self.pool).await?;
        row.map(|row| row.work()).ok_or_else(|| {
            let message = "the piece of work is not there: it has arrived, or never was";
            let refusal = Refusal::new(Code::NotFound, ErrorReason::WorkNotFound, message);
            Failure::Rejected(refusal.with("workId", id))
        })
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
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.id().to_string());
        Ok(Response::new(WorkServiceListResponse {
            work: paged.rows.iter().map(Row::work).collect(),
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
        let work = self.change(&id, RETRY, "").await?;
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
        let work = self.change(&id, PARK, &reason).await?;
        tracing::warn!(work_id = %id, reason, "an operator has parked it");
        Ok(Response::new(WorkServiceParkResponse { work: Some(work) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_printed_and_nothing_else_is() {
        let id = WorkId {
            destination: "settlement-svc".into(),
            aggregate_id: Uuid::from_u128(7),
            aggregate_seq: 12,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        let uuid = Uuid::from_u128(7);
        for wrong in [
            String::new(),
            format!("mail/account-svc/{uuid}/1"),
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
