//! Which databases a local server has, and how they come to be.

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::clock::Clock;
use chassis::cluster::Server;
use chassis::scratch::{create, drop_database, exists, migrate};
use sqlx::Connection as _;
use time::Duration;

use crate::stack::SERVICES;

/// What `up` serves: real time.
pub const MAIN: &str = "tallystick";
/// What the demonstration is played on: a clock of its own.
pub const DEMONSTRATION: &str = "tallystick_demo";

/// Makes and migrates a database in real time, or brings it up to date. True when it was made.
pub async fn prepare(server: &Server, database: &str) -> anyhow::Result<bool> {
    let made = create(server, database).await?;
    migrate(server, &SERVICES, database, None).await?;
    Ok(made)
}

/// The same with a clock that can be moved, which begins at noon of the day before.
pub async fn prepare_before(server: &Server, database: &str, day: UsageDate) -> anyhow::Result<bool> {
    let mut admin = server.connect("postgres").await?;
    let known = exists(&mut admin, database).await?;
    admin.close().await?;
    if known {
        migrate(server, &SERVICES, database, None).await?;
        return Ok(false);
    }
    let unfinished = format!("{database}_unfinished");
    drop_database(server, &unfinished).await?;
    create(server, &unfinished).await?;
    let noon_before = day.start() - Duration::hours(12);
    let offset = Clock::system().offset_for(noon_before).context("the day is too far away for a clock")?;
    migrate(server, &SERVICES, &unfinished, Some(offset)).await?;
    let mut admin = server.connect("postgres").await?;
    let rename = format!("alter database {unfinished} rename to {database}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(rename)).execute(&mut admin).await?;
    admin.close().await?;
    Ok(true)
}

/// Drops every database of ours on the server.
pub async fn drop_all(server: &Server) -> anyhow::Result<usize> {
    let mut admin = server.connect("postgres").await?;
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_catalog.pg_database where datname ~ '^tallystick(_|$)'")
            .fetch_all(&mut admin)
            .await?;
    admin.close().await?;
    for name in &names {
        drop_database(server, name).await?;
    }
    Ok(names.len())
}
