//! `workspace.usage_keys`

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::usage_records::Late;
use crate::domain::usage_key::{KeyPlace, Seen, SeenTogether};

struct Columns {
    keys: Vec<Uuid>,
    ids: Vec<Uuid>,
    meters: Vec<i16>,
    dimensions: Vec<String>,
    days: Vec<time::Date>,
}

fn columns<'a>(places: impl Iterator<Item = &'a KeyPlace> + Clone) -> Columns {
    Columns {
        keys: places.clone().map(|place| place.key_hash).collect(),
        ids: places.clone().map(|place| place.workspace_id.uuid()).collect(),
        meters: places.clone().map(|place| place.meter_id).collect(),
        dimensions: places.clone().map(|place| place.dimension.clone()).collect(),
        days: places.map(|place| place.usage_date.date()).collect(),
    }
}

/// What is known of these.
pub async fn list(
    connection: &mut PgConnection,
    places: &[KeyPlace],
) -> sqlx::Result<HashMap<KeyPlace, Seen>> {
    let c = columns(places.iter());
    let rows = sqlx::query!(
        "select u.key_hash, u.workspace_id, u.meter_id, u.dimension, u.usage_date, u.hours, u.late_hours, u.counted, u.in_time_counted \
         from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::date[]) \
           as k (key_hash, workspace_id, meter_id, dimension, usage_date) \
         join workspace.usage_keys u on u.key_hash = k.key_hash and u.workspace_id = k.workspace_id and u.meter_id = k.meter_id \
           and u.dimension = k.dimension and u.usage_date = k.usage_date",
        &c.keys,
        &c.ids,
        &c.meters,
        &c.dimensions,
        &c.days,
    )
    .fetch_all(connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let day = UsageDate::from_date(row.usage_date);
        let place = KeyPlace {
            key_hash: row.key_hash,
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            meter_id: row.meter_id,
            dimension: row.dimension,
            usage_date: day.map_err(|error| Corrupt::new("usage_keys", row.key_hash, error))?,
        };
        let (hours, late_hours) = (row.hours, row.late_hours);
        let (counted, in_time_counted) = (row.counted, row.in_time_counted);
        known.insert(place, Seen { hours, late_hours, counted, in_time_counted });
    }
    Ok(known)
}

/// Changes what is known of these, in order of their keys, where it is still what was read; answers how many were changed.
pub async fn update(connection: &mut PgConnection, changes: &[(&KeyPlace, Seen, Seen)]) -> sqlx::Result<u64> {
    if changes.is_empty() {
        return Ok(0);
    }
    let c = columns(changes.iter().map(|(place, _, _)| *place));
    let was_hours: Vec<_> = changes.iter().map(|(_, was, _)| was.hours).collect();
    let was_late: Vec<_> = changes.iter().map(|(_, was, _)| was.late_hours).collect();
    let was_counted: Vec<_> = changes.iter().map(|(_, was, _)| was.counted).collect();
    let hours: Vec<_> = changes.iter().map(|(_, _, then)| then.hours).collect();
    let late: Vec<_> = changes.iter().map(|(_, _, then)| then.late_hours).collect();
    let counted: Vec<_> = changes.iter().map(|(_, _, then)| then.counted).collect();
    let in_time: Vec<_> = changes.iter().map(|(_, _, then)| then.in_time_counted).collect();
    let done = sqlx::query!(
        "with wanted as (select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::date[], $6::integer[], $7::integer[], \
             $8::bigint[], $9::integer[], $10::integer[], $11::bigint[], $12::bigint[]) \
             as w (key_hash, workspace_id, meter_id, dimension, usage_date, was_hours, was_late, was_counted, hours, late_hours, counted, \
               in_time_counted)), \
           held as (select u.key_hash, u.workspace_id, u.meter_id, u.dimension, u.usage_date from workspace.usage_keys u join wanted w \
             using (key_hash, workspace_id, meter_id, dimension, usage_date) \
             where u.hours = w.was_hours and u.late_hours = w.was_late and u.counted = w.was_counted \
             order by u.key_hash, u.workspace_id, u.meter_id, u.dimension, u.usage_date for update of u) \
         update workspace.usage_keys u set hours = w.hours, late_hours = w.late_hours, counted = w.counted, \
           in_time_counted = w.in_time_counted \
         from wanted w join held h using (key_hash, workspace_id, meter_id, dimension, usage_date) \
         where u.key_hash = w.key_hash and u.workspace_id = w.workspace_id and u.meter_id = w.meter_id \
           and u.dimension = w.dimension and u.usage_date = w.usage_date",
        &c.keys,
        &c.ids,
        &c.meters,
        &c.dimensions,
        &c.days,
        &was_hours,
        &was_late,
        &was_counted,
        &hours,
        &late,
        &counted,
        &in_time,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Inserts new ones, in order of their keys, unless they are there; answers how many were not.
pub async fn insert(connection: &mut PgConnection, new: &[(&KeyPlace, Seen)]) -> sqlx::Result<u64> {
    if new.is_empty() {
        return Ok(0);
    }
    let c = columns(new.iter().map(|(place, _)| *place));
    let hours: Vec<_> = new.iter().map(|(_, seen)| seen.hours).collect();
    let late: Vec<_> = new.iter().map(|(_, seen)| seen.late_hours).collect();
    let counted: Vec<_> = new.iter().map(|(_, seen)| seen.counted).collect();
    let in_time: Vec<_> = new.iter().map(|(_, seen)| seen.in_time_counted).collect();
    let done = sqlx::query!(
        "insert into workspace.usage_keys (key_hash, workspace_id, meter_id, dimension, usage_date, hours, late_hours, counted, \
           in_time_counted) \
         select k.* from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::date[], $6::integer[], $7::integer[], \
           $8::bigint[], $9::bigint[]) as k on conflict do nothing",
        &c.keys,
        &c.ids,
        &c.meters,
        &c.dimensions,
        &c.days,
        &hours,
        &late,
        &counted,
        &in_time,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The keys of a workspace's day, those that were seen in the same hours together: for a day that a policy or an upgrade divides.
pub async fn list_together(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
    late: Late,
) -> sqlx::Result<Vec<SeenTogether>> {
    sqlx::query_as!(
        SeenTogether,
        r#"select meter_id, dimension, case when $3 then hours | late_hours else hours end as "hours!",
             sum(case when $3 then counted else in_time_counted end) as "counted!"
           from workspace.usage_keys where usage_date = $2 and workspace_id = $1 group by 1, 2, 3"#,
        workspace_id.uuid(),
        day.date(),
        late == Late::Included,
    )
    .fetch_all(connection)
    .await
}
