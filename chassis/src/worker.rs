//! Loops: do one bounded piece of work, again at once while there is more, else wait for a nudge or the interval. After a
//! failure it waits longer each time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::Schema;

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Look again at once.
    Again,
    /// Nothing to do for now.
    Idle,
}

const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Runs a loop until the service shuts down. A piece of work that began is finished.
pub async fn run<F, W>(
    name: &'static str,
    interval: Duration,
    nudge: Arc<Notify>,
    shutdown: CancellationToken,
    mut work: W,
) where
    W: FnMut() -> F,
    F: Future<Output = anyhow::Result<Pace>>,
{
    let mut failures = 0_u32;
    while !shutdown.is_cancelled() {
        let wait = match work().await {
            Ok(Pace::Again) => {
                failures = 0;
                continue;
            }
            Ok(Pace::Idle) => {
                failures = 0;
                interval
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(
                    worker = name,
                    failures,
                    error = format!("{error:#}"),
                    "a piece of work failed"
                );
                metrics::counter!("worker_failures_total", "worker" => name).increment(1);
                interval.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(BACKOFF_MAX)
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = nudge.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How long a claim holds without being taken again. Real time: a test clock does not move it.
const CLAIM_SECS: i32 = 10;

/// Work that only one process may do at a time.
pub struct Claim<'a> {
    /// The pool of the service.
    pub pool: &'a PgPool,
    /// Its schema.
    pub schema: Schema,
}

impl Claim<'_> {
    /// Takes the claim, or renews it. False while another process has it.
    pub async fn take(&self, name: &str) -> sqlx::Result<bool> {
        let sql = self.schema.sql(
            "insert into {schema}.work_claims (name, holder, held_until) \
             values ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
             on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until \
             where work_claims.holder = excluded.holder or work_claims.held_until < clock_timestamp()",
        );
        let taken =
            sqlx::query(sql).bind(name).bind(holder()).bind(f64::from(CLAIM_SECS)).execute(self.pool).await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives every claim of this process back, so that a successor need not wait.
    pub async fn release_all(&self) -> sqlx::Result<()> {
        let sql = self.schema.sql("delete from {schema}.work_claims where holder = $1");
        sqlx::query(sql).bind(holder()).execute(self.pool).await.map(drop)
    }
}

/// This process, among all that work on the same database.
fn holder() -> Uuid {
    static HOLDER: std::sync::OnceLock<Uuid> = std::sync::OnceLock::new();
    *HOLDER.get_or_init(|| crate::id::uuid_at(crate::clock::Clock::system().now()))
}
