//! `workspace.usage_points`

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::usage_records::Late;
use crate::domain::daily_usage::HourlyUsage;
use crate::domain::usage_point::{Place, Reading};

struct Columns {
    workspace_ids: Vec<Uuid>,
    days: Vec<time::Date>,
    meters: Vec<i16>,
    dimensions: Vec<String>,
    retentions: Vec<i32>,
    hours: Vec<i16>,
}

fn columns<'a>(places: impl Iterator<Item = &'a Place> + Clone) -> Columns {
    Columns {
        workspace_ids: places.clone().map(|place| place.workspace_id.uuid()).collect(),
        days: places.clone().map(|place| place.usage_date.date()).collect(),
        meters: places.clone().map(|place| place.meter_id).collect(),
        dimensions: places.clone().map(|place| place.dimension.clone()).collect(),
        retentions: places.clone().map(|place| place.retention_days).collect(),
        hours: places.map(|place| place.hour).collect(),
    }
}

/// The highest revision known of each place, in time or late, locked until the transaction ends.
pub async fn readings_for_update(
    connection: &mut PgConnection,
    places: &[Place],
) -> sqlx::Result<HashMap<Place, Reading>> {
    let c = columns(places.iter());
    let rows = sqlx::query!(
        "select p.workspace_id, p.usage_date, p.meter_id, p.dimension, p.retention_days, p.hour, p.quantity, p.revision \
         from workspace.usage_points p \
         join unnest($1::uuid[], $2::date[], $3::smallint[], $4::text[], $5::integer[], $6::smallint[]) \
           as k (workspace_id, usage_date, meter_id, dimension, retention_days, hour) \
           on k.workspace_id = p.workspace_id and k.usage_date = p.usage_date and k.meter_id = p.meter_id \
           and k.dimension = p.dimension and k.retention_days = p.retention_days and k.hour = p.hour \
         order by p.workspace_id, p.usage_date, p.meter_id, p.dimension, p.retention_days, p.hour, p.is_late \
         for update of p",
        &c.workspace_ids,
        &c.days,
        &c.meters,
        &c.dimensions,
        &c.retentions,
        &c.hours,
    )
    .fetch_all(connection)
    .await?;
    let mut known: HashMap<Place, Reading> = HashMap::new();
    for row in rows {
        let day = UsageDate::from_date(row.usage_date);
        let place = Place {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            usage_date: day.map_err(|error| Corrupt::new("usage_points", row.workspace_id, error))?,
            meter_id: row.meter_id,
            dimension: row.dimension,
            retention_days: row.retention_days,
            hour: row.hour,
        };
        let reading = Reading { quantity: row.quantity, revision: row.revision };
        let newest = known.entry(place).or_insert(reading);
        if reading.revision > newest.revision {
            *newest = reading;
        }
    }
    Ok(known)
}

/// Writes what holds now, unless a higher revision is there by then; answers how many were written. A late point stands beside
/// the one that was sealed.
pub async fn upsert(
    connection: &mut PgConnection,
    points: &[(Place, Reading)],
    is_late: bool,
) -> sqlx::Result<u64> {
    let mut sorted: Vec<&(Place, Reading)> = points.iter().collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let c = columns(sorted.iter().map(|(place, _)| place));
    let quantities: Vec<_> = sorted.iter().map(|(_, reading)| reading.quantity).collect();
    let revisions: Vec<_> = sorted.iter().map(|(_, reading)| reading.revision).collect();
    let done = sqlx::query!(
        "insert into workspace.usage_points \
           (workspace_id, usage_date, meter_id, dimension, retention_days, hour, quantity, revision, is_late) \
         select k.*, $9 from unnest($1::uuid[], $2::date[], $3::smallint[], $4::text[], $5::integer[], $6::smallint[], \
           $7::bigint[], $8::bigint[]) as k \
         on conflict on constraint usage_points_pkey \
         do update set quantity = excluded.quantity, revision = excluded.revision \
         where usage_points.revision < excluded.revision",
        &c.workspace_ids,
        &c.days,
        &c.meters,
        &c.dimensions,
        &c.retentions,
        &c.hours,
        &quantities,
        &revisions,
        is_late,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The points of a day. With late ones included, the highest revision of each place.
pub async fn list_by_hour(
    connection: &mut PgConnection,
    day: UsageDate,
    workspace_ids: &[Uuid],
    late: Late,
) -> sqlx::Result<Vec<(WorkspaceId, HourlyUsage)>> {
    let rows = sqlx::query!(
        "select distinct on (workspace_id, meter_id, dimension, retention_days, hour) \
           workspace_id, meter_id, dimension, retention_days, hour, quantity \
         from workspace.usage_points where usage_date = $1 and workspace_id = any($2) and (not is_late or $3) \
         order by workspace_id, meter_id, dimension, retention_days, hour, revision desc",
        day.date(),
        workspace_ids,
        late == Late::Included,
    )
    .fetch_all(connection)
    .await?;
    let usage = rows.into_iter().map(|row| {
        let quantity = Decimal::from(row.quantity);
        let hourly = HourlyUsage {
            meter_id: row.meter_id,
            dimension: row.dimension,
            retention_days: row.retention_days,
            hour: row.hour,
            sum: quantity,
            max: quantity,
        };
        (WorkspaceId::from_uuid(row.workspace_id), hourly)
    });
    Ok(usage.collect())
}
