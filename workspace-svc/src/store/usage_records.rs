//! `workspace.usage_records`: written by COPY, in its binary format, or few at a time by one statement with everything that belongs to them.

use std::collections::{BTreeMap, BTreeSet};

use chassis::civil::UsageDate;
use chassis::failure::broken_constraint;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::usage_deltas::DeltaColumns;

/// What makes a record the same record. Ordered as the partitions and their indexes are: whoever writes in this order never waits in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// On which day.
    pub usage_date: UsageDate,
    /// Made by the producer.
    pub event_id: Uuid,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
}

impl Key {
    /// In the same order, as numbers, which are compared faster than bytes.
    pub fn place(&self) -> (UsageDate, u128, u128) {
        (self.usage_date, self.event_id.as_u128(), self.workspace_id.uuid().as_u128())
    }
}

/// What is asked of a record that may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Of its content.
    pub fingerprint: i64,
    /// When it happened.
    pub event_time: OffsetDateTime,
}

/// A record that is admitted.
#[derive(Debug, Clone)]
pub struct NewRecord<'a> {
    /// Its identity.
    pub key: Key,
    /// When it happened.
    pub event_time: OffsetDateTime,
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: &'a str,
    /// How much.
    pub quantity: i64,
    /// Of the content.
    pub fingerprint: i64,
    /// Its day is closed.
    pub is_late: bool,
}

/// Whether late usage is part of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Only what came in time: what a seal counts.
    Excluded,
    /// Everything that was accepted.
    Included,
}

/// What came of a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// All rows are there now.
    All,
    /// Some were there: the transaction is lost.
    SomeWereThere,
}

/// What every COPY in the binary format begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COLUMNS: i16 = 9;
/// Rows that are sent together.
const PART_ROWS: usize = 512;
/// Roughly what a row takes.
const ROW_BYTES: usize = 120;
/// PostgreSQL counts days and microseconds from 2000-01-01: this day of the Julian calendar, and this second of Unix time.
const EPOCH_DAY: i32 = 2_451_545;
const EPOCH_SECOND: i64 = 946_684_800;

/// A column: its length, then its bytes. A length is far below the limit: the longest column has 64 bytes.
fn put(bytes: &mut Vec<u8>, column: &[u8]) {
    bytes.extend_from_slice(&i32::try_from(column.len()).unwrap_or(i32::MAX).to_be_bytes());
    bytes.extend_from_slice(column);
}

fn put_row(bytes: &mut Vec<u8>, record: &NewRecord<'_>) {
    let day = record.key.usage_date.date().to_julian_day() - EPOCH_DAY;
    let seconds = record.event_time.unix_timestamp() - EPOCH_SECOND;
    let micros = seconds * 1_000_000 + i64::from(record.event_time.microsecond());
    bytes.extend_from_slice(&COLUMNS.to_be_bytes());
    put(bytes, record.key.event_id.as_bytes());
    put(bytes, record.key.workspace_id.uuid().as_bytes());
    put(bytes, &day.to_be_bytes());
    put(bytes, &micros.to_be_bytes());
    put(bytes, &record.quantity.to_be_bytes());
    put(bytes, &record.fingerprint.to_be_bytes());
    put(bytes, &record.meter_id.to_be_bytes());
    put(bytes, &[u8::from(record.is_late)]);
    put(bytes, record.dimension.as_bytes());
}

/// Writes records, none of which is there. If one is, the transaction can only be rolled back.
pub async fn copy_new<'a>(
    connection: &mut PgConnection,
    records: impl ExactSizeIterator<Item = NewRecord<'a>>,
) -> sqlx::Result<Copied> {
    if records.len() == 0 {
        return Ok(Copied::All);
    }
    let count = records.len();
    let sql = "copy workspace.usage_records (event_id, workspace_id, usage_date, event_time, quantity, fingerprint, meter_id, is_late, \
               dimension) from stdin (format binary)";
    let mut copy = connection.copy_in_raw(sql).await?;
    let mut bytes = Vec::with_capacity(HEADER.len() + count.min(PART_ROWS).saturating_mul(ROW_BYTES));
    bytes.extend_from_slice(HEADER);
    // PostgreSQL writes one part while the next is made.
    for (place, record) in records.enumerate() {
        put_row(&mut bytes, &record);
        if (place + 1).is_multiple_of(PART_ROWS) {
            copy.send(bytes.as_slice()).await?;
            bytes.clear();
            tokio::task::yield_now().await;
        }
    }
    bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    copy.send(bytes).await?;
    match copy.finish().await {
        Ok(copied) if usize::try_from(copied) == Ok(count) => Ok(Copied::All),
        Ok(copied) => Err(sqlx::Error::Protocol(format!("{copied} of {count} records were written"))),
        Err(error) if is_known(&error) => Ok(Copied::SomeWereThere),
        Err(error) => Err(error),
    }
}

/// What came of a statement that takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All are there now, and committed.
    All,
    /// Some were there: nothing was written.
    SomeWereThere,
    /// The day of one is closed: nothing was written.
    DayClosed,
    /// What decides whether usage of a workspace is taken is not what it was: nothing was written.
    WorkspaceChanged,
}

/// What the records of a statement were judged by.
#[derive(Debug, Clone, Copy)]
pub struct JudgedBy<'a> {
    /// Their days, which must be open.
    pub days: &'a BTreeSet<UsageDate>,
    /// Their workspaces.
    pub workspace_ids: &'a [Uuid],
    /// The fingerprints of what was known of these.
    pub fingerprints: &'a [Uuid],
}

/// Writes records of open days, none of which is there, and what they add to their hours, in a transaction of its own.
pub async fn take(
    connection: &mut PgConnection,
    judged_by: JudgedBy<'_>,
    records: &[NewRecord<'_>],
    hours: &DeltaColumns,
) -> sqlx::Result<Taken> {
    let days: Vec<_> = judged_by.days.iter().map(|day| day.date()).collect();
    let event_ids: Vec<_> = records.iter().map(|record| record.key.event_id).collect();
    let workspace_ids: Vec<_> = records.iter().map(|record| record.key.workspace_id.uuid()).collect();
    let usage_dates: Vec<_> = records.iter().map(|record| record.key.usage_date.date()).collect();
    let event_times: Vec<_> = records.iter().map(|record| record.event_time).collect();
    let quantities: Vec<_> = records.iter().map(|record| record.quantity).collect();
    let fingerprints: Vec<_> = records.iter().map(|record| record.fingerprint).collect();
    let meter_ids: Vec<_> = records.iter().map(|record| record.meter_id).collect();
    let dimensions: Vec<_> = records.iter().map(|record| record.dimension.to_owned()).collect();
    let taken = sqlx::query_scalar!(
        r#"select workspace.take_records($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) as "taken!""#,
        &days,
        judged_by.workspace_ids,
        judged_by.fingerprints,
        &event_ids,
        &workspace_ids,
        &usage_dates,
        &event_times,
        &quantities,
        &fingerprints,
        &meter_ids,
        &dimensions,
        &hours.workspace_ids,
        &hours.usage_dates,
        &hours.meter_ids,
        &hours.dimensions,
        &hours.hours,
        &hours.sums,
        &hours.maxima,
        &hours.record_counts,
    )
    .fetch_one(connection)
    .await;
    match taken.as_deref() {
        Ok("TAKEN") => Ok(Taken::All),
        Ok("DAY_CLOSED") => Ok(Taken::DayClosed),
        Ok("WORKSPACE_CHANGED") => Ok(Taken::WorkspaceChanged),
        Ok(other) => Err(sqlx::Error::Protocol(format!("records were {other}"))),
        Err(error) if is_known(error) => Ok(Taken::SomeWereThere),
        Err(_) => Err(taken.err().unwrap_or(sqlx::Error::RowNotFound)),
    }
}

/// A record was there. Each partition has the key under its own name.
fn is_known(error: &sqlx::Error) -> bool {
    broken_constraint(error).is_some_and(|name| name.starts_with("usage_records_") && name.ends_with("_pkey"))
}

/// What is there, in the order of the keys.
pub async fn probe(connection: &mut PgConnection, keys: &[Key]) -> sqlx::Result<Vec<Option<Stored>>> {
    let mut found = vec![None; keys.len()];
    let mut days: BTreeMap<UsageDate, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.iter().enumerate() {
        days.entry(key.usage_date).or_default().push(place);
    }
    for (day, places) in days {
        let of_day = || places.iter().filter_map(|place| keys.get(*place));
        let event_ids: Vec<_> = of_day().map(|key| key.event_id).collect();
        let workspace_ids: Vec<_> = of_day().map(|key| key.workspace_id.uuid()).collect();
        let rows = sqlx::query!(
            r#"select place as "place!", fingerprint as "fingerprint!", event_time as "event_time!" from workspace.known_records($1, $2, $3)"#,
            day.date(),
            &event_ids,
            &workspace_ids,
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in rows {
            let place = usize::try_from(row.place - 1).ok().and_then(|place| places.get(place));
            if let Some(found) = place.and_then(|place| found.get_mut(*place)) {
                *found = Some(Stored { fingerprint: row.fingerprint, event_time: row.event_time });
            }
        }
    }
    Ok(found)
}

/// A record that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its id.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: OffsetDateTime,
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// How much.
    pub quantity: i64,
    /// It came after its day was closed.
    pub is_late: bool,
}

/// Those of a workspace and day that have one of these ids.
pub async fn find(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
    event_ids: &[Uuid],
) -> sqlx::Result<Vec<StoredRecord>> {
    sqlx::query_as!(
        StoredRecord,
        "select event_id, event_time, meter_id, dimension, quantity, is_late from workspace.usage_records \
         where usage_date = $2 and workspace_id = $1 and event_id = any($3) order by event_id",
        workspace_id.uuid(),
        day.date(),
        event_ids,
    )
    .fetch_all(connection)
    .await
}
