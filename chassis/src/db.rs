//! The pool of a service, on its own schema with its own role.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgPool};

/// A statement that runs longer is cancelled.
const STATEMENT_TIMEOUT: &str = "30s";
/// A transaction that idles longer is ended: it would hold locks.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "15s";
/// Waiting longer for a lock is a lost race.
const LOCK_TIMEOUT: &str = "10s";
/// Waiting longer for a connection means that the pool is exhausted.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(9);

/// A connection that lay idle longer is asked whether it lives before it is used; the pool asks each that comes back.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// The schema of a service: a constant, so that the few statements of the chassis may be built from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema(pub &'static str);

impl Schema {
    /// A statement of the frame's own tables, with `{schema}` filled in.
    pub fn sql(self, template: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(template.replace("{schema}", self.0))
    }
}

/// Connects lazily: a service starts without its database and says NOT_SERVING until it is there.
pub fn pool(url: &SecretString, application: &str, connections_max: u32) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    let options = options.application_name(application).options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        ("lock_timeout", LOCK_TIMEOUT),
        ("timezone", "UTC"),
    ]);
    let port = options.get_port();
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, kept| {
            Box::pin(async move {
                if kept.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |_, _| Box::pin(async move { send_at_once(port) }));
    Ok(pool.connect_lazy_with(options))
}

/// A connection whose last words may wait is slower, and right.
pub(crate) fn send_at_once(port: u16) -> sqlx::Result<()> {
    if let Err(error) = crate::nodelay::set(port) {
        tracing::warn!(%error, "small messages to the database may wait: TCP_NODELAY could not be set");
    }
    Ok(())
}

/// What the database says of itself: whether it was made with the test flag, and how far its clock is ahead.
#[derive(Debug, Clone, Copy)]
pub struct Deployment {
    /// Made for tests or demonstrations: its clock can be moved.
    pub is_test: bool,
    /// How far its clock is ahead of real time.
    pub clock_offset_micros: i64,
}

/// Reads the one row of the deployment table.
pub async fn deployment(pool: &PgPool, schema: Schema) -> sqlx::Result<Deployment> {
    let sql = schema.sql("select is_test, clock_offset_micros from {schema}.deployment");
    let (is_test, clock_offset_micros) = sqlx::query_as(sql).fetch_one(pool).await?;
    Ok(Deployment { is_test, clock_offset_micros })
}

/// Keeps a moved clock. False when the database is no test database, or its clock is past that already.
pub async fn advance_clock(pool: &PgPool, schema: Schema, offset_micros: i64) -> sqlx::Result<bool> {
    let sql = schema.sql(
        "update {schema}.deployment set clock_offset_micros = $1 where is_test and clock_offset_micros < $1",
    );
    let done = sqlx::query(sql).bind(offset_micros).execute(pool).await?;
    Ok(done.rows_affected() == 1)
}

/// Marks a database that was just made as one for tests, with a clock of its own. For the owner role only.
pub async fn mark_test(pool: &PgPool, schema: Schema, offset_micros: i64) -> sqlx::Result<()> {
    let sql = schema
        .sql("update {schema}.deployment set is_test = true, clock_offset_micros = $1 where not is_test");
    sqlx::query(sql).bind(offset_micros).execute(pool).await?;
    Ok(())
}

/// The newest migration that was applied to the schema.
pub async fn schema_version(pool: &PgPool, schema: Schema) -> sqlx::Result<Option<i64>> {
    let sql = schema.sql("select max(version) from {schema}._sqlx_migrations where success");
    sqlx::query_scalar(sql).fetch_one(pool).await
}
