//! The limits of the machine: what PostgreSQL alone does with the same rows, in the same run.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::figures::per_second;
use crate::stage::Stage;

/// Rows per COPY.
const ROWS: usize = 5_000;
/// One per core.
const COPIERS: usize = 2;
/// The sessions of the simplest durable transaction.
const WRITERS: usize = 64;
/// PostgreSQL counts days and microseconds from 2000-01-01.
const DAY: i32 = 9_826;
const MOMENT_MICROS: i64 = 848_923_200_000_000;

const MAKE: &str = "drop table if exists load_raw; create table load_raw (event_id uuid not null, workspace_id uuid not null, \
    usage_date date not null, event_time timestamptz not null, quantity bigint not null, fingerprint bigint not null, \
    meter_id smallint not null, is_late boolean not null, dimension text not null, \
    primary key (event_id, workspace_id, usage_date)) with (autovacuum_enabled = false); \
    drop table if exists load_raw_single; create table load_raw_single (event_id uuid primary key)";

/// A table with the columns and the key of usage records, logged and without partitions.
pub async fn make(stage: &Stage) -> anyhow::Result<()> {
    let mut admin = stage.admin().await?;
    sqlx::raw_sql(MAKE).execute(&mut admin).await?;
    Ok(())
}

fn new_id() -> Uuid {
    chassis::id::uuid_at(chassis::clock::Clock::system().now())
}

/// A COPY in the binary format: each row the number of its columns, each column its length and bytes.
fn rows() -> Vec<u8> {
    let workspace = Uuid::from_u128(7);
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for number in 0..ROWS {
        let quantity = i64::try_from(number).unwrap_or_default();
        bytes.extend(9_i16.to_be_bytes());
        let id = new_id();
        let (day, moment, meter) = (DAY.to_be_bytes(), MOMENT_MICROS.to_be_bytes(), 10_i16.to_be_bytes());
        let quantity = quantity.to_be_bytes();
        let columns: [&[u8]; 9] =
            [id.as_bytes(), workspace.as_bytes(), &day, &moment, &quantity, &quantity, &meter, &[0], b""];
        for column in columns {
            bytes.extend(i32::try_from(column.len()).unwrap_or_default().to_be_bytes());
            bytes.extend(column);
        }
    }
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

async fn copy(mut connection: PgConnection, time: Duration) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        let sql = "copy load_raw (event_id, workspace_id, usage_date, event_time, quantity, fingerprint, meter_id, is_late, dimension) \
                   from stdin (format binary)";
        let mut stream = connection.copy_in_raw(sql).await?;
        stream.send(rows()).await?;
        count += stream.finish().await?;
    }
    Ok(count)
}

/// Rows in a second, copied in batches over a connection per core, each batch on disk.
pub async fn copied(stage: &Stage, time: Duration) -> anyhow::Result<u64> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..COPIERS {
        tasks.spawn(copy(stage.admin().await?, time));
    }
    sum(tasks, time).await
}

async fn insert(mut connection: PgConnection, time: Duration) -> anyhow::Result<u64> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        let insert = sqlx::query("insert into load_raw_single (event_id) values ($1)").bind(new_id());
        count += insert.execute(&mut connection).await?.rows_affected();
    }
    Ok(count)
}

/// The simplest durable transactions in a second: one row each.
pub async fn inserted(stage: &Stage, time: Duration) -> anyhow::Result<u64> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        tasks.spawn(insert(stage.admin().await?, time));
    }
    sum(tasks, time).await
}

async fn sum(mut tasks: tokio::task::JoinSet<anyhow::Result<u64>>, time: Duration) -> anyhow::Result<u64> {
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.context("a task of the raw limit")??;
    }
    Ok(per_second(count, time))
}
