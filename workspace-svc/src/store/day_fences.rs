//! `workspace.day_fences`, and the lock that stands for a day. Ingest holds it shared until its commit; the seal takes it alone,
//! only to close the day. It is an advisory lock: no row is written by ingest for it.

use std::collections::{BTreeSet, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::domain::sealed_day::Manifest;

/// The class of a day's fence among advisory locks; the function `workspace.hold_fences` has it too.
const FENCE: i32 = 0x0da1;
/// The class of a day's seal: one sealer at a time does the next part.
const SEAL: i32 = 0x5ea1;

fn number(day: UsageDate) -> i32 {
    day.date().to_julian_day()
}

/// Holds the fences of days, together with others, until the transaction ends; answers which are closed. What a transaction sees as closed is late.
pub async fn hold_open(
    connection: &mut PgConnection,
    days: &BTreeSet<UsageDate>,
) -> sqlx::Result<HashSet<UsageDate>> {
    let dates: Vec<Date> = days.iter().map(|day| day.date()).collect();
    let closed = sqlx::query_scalar!(r#"select workspace.hold_fences($1) as "day!""#, &dates)
        .fetch_all(connection)
        .await?;
    Ok(closed.into_iter().filter_map(|date| days.iter().find(|day| day.date() == date)).copied().collect())
}

/// Waits until nobody holds the fence, and holds it alone.
pub async fn hold_alone(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1, $2)", FENCE, number(day))
        .execute(connection)
        .await
        .map(drop)
}

/// Waits for another sealer of the day, and keeps others out until the transaction ends.
pub async fn hold_seal(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1, $2)", SEAL, number(day))
        .execute(connection)
        .await
        .map(drop)
}

/// Closes a day unless it is closed.
pub async fn close(connection: &mut PgConnection, day: UsageDate, now: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.day_fences (usage_date, state, closed_at) values ($1, 'CLOSING', $2) \
         on conflict on constraint day_fences_pkey do nothing",
        day.date(),
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The manifest of a sealed day.
pub async fn manifest(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<Option<Manifest>> {
    let row = sqlx::query!(
        "select closed_at, sealed_at, workspace_count, failure_count, digest from workspace.day_fences \
         where usage_date = $1 and state = 'SEALED'",
        day.date(),
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = || Corrupt::new("day_fences", day, "sealed without a manifest");
    Ok(Some(Manifest {
        usage_date: day,
        workspace_count: row.workspace_count.ok_or_else(corrupt)?,
        failure_count: row.failure_count.ok_or_else(corrupt)?,
        digest: row.digest.ok_or_else(corrupt)?,
        closed_at: row.closed_at,
        sealed_at: row.sealed_at.ok_or_else(corrupt)?,
    }))
}

/// Writes the manifest, and writes it again when fewer have failed: one without failures never changes. Answers whether it did.
pub async fn mark_sealed(
    connection: &mut PgConnection,
    day: UsageDate,
    (workspace_count, failure_count): (i32, i32),
    digest: &[u8],
    now: OffsetDateTime,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update workspace.day_fences set state = 'SEALED', sealed_at = $2, workspace_count = $3, failure_count = $4, digest = $5 \
         where usage_date = $1 and (state = 'CLOSING' or (workspace_count = $3 and failure_count > $4))",
        day.date(),
        now,
        workspace_count,
        failure_count,
        digest,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The days, from the one on which the first workspace was made up to the last that is due, that are not sealed.
pub async fn list_unsealed(
    connection: &mut PgConnection,
    last: UsageDate,
    limit: i64,
) -> sqlx::Result<Vec<UsageDate>> {
    let days = sqlx::query_scalar!(
        r#"select d::date as "day!" from generate_series(
             (select (min(created_at) at time zone interval '08:00')::date::timestamp from workspace.workspaces),
             $1::date::timestamp, interval '1 day') as d
           where not exists (select 1 from workspace.day_fences f where f.usage_date = d::date and f.state = 'SEALED')
           order by d limit $2"#,
        last.date(),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let day = |day| UsageDate::from_date(day).map_err(|error| Corrupt::new("day_fences", day, error).into());
    days.into_iter().map(day).collect()
}
