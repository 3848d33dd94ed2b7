//! Events leave through the outbox of the transaction that made them true. The relay delivers each at least once, in order per
//! aggregate; receivers are idempotent. A row that is refused for good is parked and holds back nothing; one whose receiver does
//! not answer is tried for ever, since an outage, however long, must not leave a bill unsettled or overtaken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::db::Schema;
use crate::worker::{Claim, Pace};

/// Rows per look.
const BATCH_ROWS_MAX: i64 = 64;
/// The longest wait between two tries, in half seconds, so that the first try after a hiccup comes soon.
const BACKOFF_MAX_HALF_SECS: i32 = 30;

/// An event on its way out.
#[derive(Debug, Clone)]
pub struct Event {
    /// The service that it is for.
    pub destination: &'static str,
    /// Whose order it keeps.
    pub aggregate_id: Uuid,
    /// The RPC that takes it, in words: "Settle".
    pub kind: &'static str,
    /// The encoded request.
    pub payload: Vec<u8>,
}

/// Appends an event. Its place in the order is taken under the row lock of the aggregate's head, so that it is the order of
/// commit.
pub async fn append(
    connection: &mut PgConnection,
    schema: Schema,
    event: &Event,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let head = schema.sql(
        "insert into {schema}.outbox_heads (aggregate_id, destination, last_seq) values ($1, $2, 1) \
         on conflict (aggregate_id, destination) do update set last_seq = outbox_heads.last_seq + 1 returning last_seq",
    );
    let seq: i64 = sqlx::query_scalar(head)
        .bind(event.aggregate_id)
        .bind(event.destination)
        .fetch_one(&mut *connection)
        .await?;
    let row = schema.sql(
        "insert into {schema}.outbox (aggregate_id, destination, aggregate_seq, kind, payload, trace_context, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7)",
    );
    sqlx::query(row)
        .bind(event.aggregate_id)
        .bind(event.destination)
        .bind(seq)
        .bind(event.kind)
        .bind(&event.payload)
        .bind(crate::telemetry::current_trace_context())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Why an event did not arrive.
#[derive(Debug)]
pub enum Undelivered {
    /// Try again.
    Later(String),
    /// The receiver refused it for good.
    Never(String),
}

/// A receiver's refusals that repeat themselves whatever one waits; everything else is tried again.
pub fn undelivered(status: &tonic::Status) -> Undelivered {
    use tonic::Code;
    let message = format!("{:?} {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists | Code::OutOfRange => {
            Undelivered::Never(message)
        }
        _ => Undelivered::Later(message),
    }
}

/// Takes an event of this kind to its receiver.
pub type Deliver = Arc<
    dyn Fn(String, Vec<u8>) -> Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send>> + Send + Sync,
>;

/// Carries one destination's events.
#[derive(Clone)]
pub struct Relay {
    /// The pool of the sending service.
    pub pool: PgPool,
    /// Its schema.
    pub schema: Schema,
    /// Who receives.
    pub destination: &'static str,
    /// How.
    pub deliver: Deliver,
}

#[derive(sqlx::FromRow)]
struct Row {
    aggregate_id: Uuid,
    aggregate_seq: i64,
    kind: String,
    payload: Vec<u8>,
    trace_context: String,
    attempts: i32,
}

impl Relay {
    /// One look: delivers the first waiting event of each aggregate. Only one relay of a destination works at a time.
    pub async fn pass(&self) -> anyhow::Result<Pace> {
        let claim = Claim { pool: &self.pool, schema: self.schema };
        if !claim.take(&format!("relay:{}", self.destination)).await? {
            return Ok(Pace::Idle);
        }
        let rows = self.waiting().await?;
        if rows.is_empty() {
            return Ok(Pace::Idle);
        }
        for row in rows {
            if !claim.take(&format!("relay:{}", self.destination)).await? {
                return Ok(Pace::Idle);
            }
            crate::fault::point("relay.before_delivery");
            let span = crate::telemetry::span_under(&row.trace_context, "relay", self.destination);
            self.carry(row).instrument(span).await?;
        }
        Ok(Pace::Again)
    }

    async fn waiting(&self) -> sqlx::Result<Vec<Row>> {
        let sql = self.schema.sql(
            "select o.aggregate_id, o.aggregate_seq, o.kind, o.payload, o.trace_context, o.attempts \
             from {schema}.outbox o \
             where o.destination = $1 and o.parked_at is null and o.next_attempt_at <= clock_timestamp() \
               and not exists (select 1 from {schema}.outbox e where e.destination = o.destination \
                 and e.aggregate_id = o.aggregate_id and e.aggregate_seq < o.aggregate_seq and e.parked_at is null) \
             order by o.created_at limit $2",
        );
        sqlx::query_as(sql).bind(self.destination).bind(BATCH_ROWS_MAX).fetch_all(&self.pool).await
    }

    async fn carry(&self, row: Row) -> sqlx::Result<()> {
        match (self.deliver)(row.kind.clone(), row.payload.clone()).await {
            Ok(()) => {
                crate::fault::point("relay.after_delivery");
                self.delete(&row).await
            }
            Err(Undelivered::Never(reason)) => self.park(&row, &reason).await,
            Err(Undelivered::Later(reason)) => self.postpone(&row, &reason).await,
        }
    }

    async fn delete(&self, row: &Row) -> sqlx::Result<()> {
        let sql = self.schema.sql(
            "delete from {schema}.outbox where aggregate_id = $1 and destination = $2 and aggregate_seq = $3",
        );
        self.touch(sqlx::query(sql), row).await
    }

    async fn park(&self, row: &Row, reason: &str) -> sqlx::Result<()> {
        tracing::error!(destination = self.destination, kind = row.kind, aggregate_id = %row.aggregate_id, reason, "parked");
        metrics::counter!("outbox_parked_total", "destination" => self.destination).increment(1);
        let sql = self.schema.sql(
            "update {schema}.outbox set attempts = attempts + 1, parked_at = clock_timestamp(), last_error = left($4, 1000) \
             where aggregate_id = $1 and destination = $2 and aggregate_seq = $3",
        );
        let query = sqlx::query(sql)
            .bind(row.aggregate_id)
            .bind(self.destination)
            .bind(row.aggregate_seq)
            .bind(reason);
        query.execute(&self.pool).await.map(drop)
    }

    async fn postpone(&self, row: &Row, reason: &str) -> sqlx::Result<()> {
        tracing::warn!(destination = self.destination, kind = row.kind, aggregate_id = %row.aggregate_id, reason, "not delivered");
        metrics::counter!("outbox_postponed_total", "destination" => self.destination).increment(1);
        let doublings = row.attempts.clamp(0, 10).unsigned_abs();
        let wait_half_secs = 2_i32.pow(doublings).min(BACKOFF_MAX_HALF_SECS);
        let sql = self.schema.sql(
            "update {schema}.outbox set attempts = attempts + 1, last_error = left($4, 1000), \
             next_attempt_at = clock_timestamp() + make_interval(secs => $5 / 2.0) \
             where aggregate_id = $1 and destination = $2 and aggregate_seq = $3",
        );
        let query = sqlx::query(sql).bind(row.aggregate_id).bind(self.destination).bind(row.aggregate_seq);
        query.bind(reason).bind(wait_half_secs).execute(&self.pool).await.map(drop)
    }

    async fn touch(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
        row: &Row,
    ) -> sqlx::Result<()> {
        query
            .bind(row.aggregate_id)
            .bind(self.destination)
            .bind(row.aggregate_seq)
            .execute(&self.pool)
            .await
            .map(drop)
    }
}

/// How long a relay sleeps when there is nothing to carry; a nudge after a commit wakes it sooner.
pub const RELAY_INTERVAL: Duration = Duration::from_millis(250);
