//! `workspace.usage_records`

use std::collections::{HashMap, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::daily_usage::HourlyUsage;

/// What makes a record the same record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Made by the producer.
    pub event_id: Uuid,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// On which day.
    pub usage_date: UsageDate,
}

/// A record that is admitted.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Its identity.
    pub key: Key,
    /// When it happened.
    pub event_time: OffsetDateTime,
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// How much.
    pub quantity: i64,
    /// Of the content.
    pub fingerprint: i64,
    /// Its day is closed.
    pub is_late: bool,
}

fn key(event_id: Uuid, workspace_id: Uuid, usage_date: time::Date) -> Result<Key, Corrupt> {
    let day =
        UsageDate::from_date(usage_date).map_err(|error| Corrupt::new("usage_records", event_id, error))?;
    Ok(Key { event_id, workspace_id: WorkspaceId::from_uuid(workspace_id), usage_date: day })
}

/// Inserts what is not there, in key order so that two batches never wait for each other; answers what was inserted.
pub async fn insert_new(connection: &mut PgConnection, records: &[NewRecord]) -> sqlx::Result<HashSet<Key>> {
    let mut sorted: Vec<&NewRecord> = records.iter().collect();
    sorted.sort_unstable_by_key(|record| record.key);
    let event_ids: Vec<_> = sorted.iter().map(|record| record.key.event_id).collect();
    let workspace_ids: Vec<_> = sorted.iter().map(|record| record.key.workspace_id.uuid()).collect();
    let days: Vec<_> = sorted.iter().map(|record| record.key.usage_date.date()).collect();
    let times: Vec<_> = sorted.iter().map(|record| record.event_time).collect();
    let meters: Vec<_> = sorted.iter().map(|record| record.meter_id).collect();
    let dimensions: Vec<_> = sorted.iter().map(|record| record.dimension.clone()).collect();
    let quantities: Vec<_> = sorted.iter().map(|record| record.quantity).collect();
    let fingerprints: Vec<_> = sorted.iter().map(|record| record.fingerprint).collect();
    let late: Vec<_> = sorted.iter().map(|record| record.is_late).collect();
    let rows = sqlx::query!(
        "insert into workspace.usage_records \
           (event_id, workspace_id, usage_date, event_time, meter_id, dimension, quantity, fingerprint, is_late) \
         select * from unnest($1::uuid[], $2::uuid[], $3::date[], $4::timestamptz[], $5::smallint[], $6::text[], \
           $7::bigint[], $8::bigint[], $9::boolean[]) \
         on conflict do nothing returning event_id, workspace_id, usage_date",
        &event_ids,
        &workspace_ids,
        &days,
        &times,
        &meters,
        &dimensions,
        &quantities,
        &fingerprints,
        &late,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(key(row.event_id, row.workspace_id, row.usage_date)?)).collect()
}

/// The fingerprints of what is there.
pub async fn fingerprints(connection: &mut PgConnection, keys: &[Key]) -> sqlx::Result<HashMap<Key, i64>> {
    let event_ids: Vec<_> = keys.iter().map(|key| key.event_id).collect();
    let workspace_ids: Vec<_> = keys.iter().map(|key| key.workspace_id.uuid()).collect();
    let days: Vec<_> = keys.iter().map(|key| key.usage_date.date()).collect();
    let rows = sqlx::query!(
        "select r.event_id, r.workspace_id, r.usage_date, r.fingerprint from workspace.usage_records r \
         join unnest($1::uuid[], $2::uuid[], $3::date[]) as k (event_id, workspace_id, usage_date) \
           on k.event_id = r.event_id and k.workspace_id = r.workspace_id and k.usage_date = r.usage_date",
        &event_ids,
        &workspace_ids,
        &days,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((key(row.event_id, row.workspace_id, row.usage_date)?, row.fingerprint)))
        .collect()
}

/// Whether late usage is part of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Only what came in time: what a seal counts.
    Excluded,
    /// Everything that was accepted.
    Included,
}

/// Sums by workspace, meter, dimension and hour of a day.
pub async fn sum_by_hour(
    connection: &mut PgConnection,
    day: UsageDate,
    workspace_ids: &[Uuid],
    late: Late,
) -> sqlx::Result<Vec<(WorkspaceId, HourlyUsage)>> {
    let rows = sqlx::query!(
        r#"select workspace_id, meter_id, dimension,
             extract(hour from event_time at time zone interval '08:00')::smallint as "hour!",
             sum(quantity) as "sum!", max(quantity) as "max!"
           from workspace.usage_records
           where usage_date = $1 and workspace_id = any($2) and (not is_late or $3)
           group by 1, 2, 3, 4"#,
        day.date(),
        workspace_ids,
        late == Late::Included,
    )
    .fetch_all(connection)
    .await?;
    let usage = rows.into_iter().map(|row| {
        let hourly = HourlyUsage {
            meter_id: row.meter_id,
            dimension: row.dimension,
            retention_days: 0,
            hour: row.hour,
            sum: row.sum,
            max: Decimal::from(row.max),
        };
        (WorkspaceId::from_uuid(row.workspace_id), hourly)
    });
    Ok(usage.collect())
}
