//! `workspace.hourly_usage`, with what is not folded into it yet, and with `workspace.usage_points` for a reader of both.

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::usage_deltas::{Delta, Slot};
use super::usage_records::Late;
use crate::domain::daily_usage::HourlyUsage;

/// The hours of a day.
pub async fn list(
    connection: &mut PgConnection,
    day: UsageDate,
    workspace_ids: &[Uuid],
    late: Late,
) -> sqlx::Result<Vec<(WorkspaceId, HourlyUsage)>> {
    let rows = sqlx::query!(
        r#"select workspace_id as "workspace_id!", meter_id as "meter_id!", dimension as "dimension!", hour as "hour!",
             sum(sum) as "sum!", max(max) as "max!" from (
             select workspace_id, meter_id, dimension, hour, case when $3 then sum else in_time_sum end as sum,
               case when $3 then max else in_time_max end as max
             from workspace.hourly_usage where usage_date = $1 and workspace_id = any($2)
             union all
             select workspace_id, meter_id, dimension, hour, sum, max from workspace.usage_deltas
             where usage_date = $1 and workspace_id = any($2) and (not is_late or $3)
           ) as hours group by 1, 2, 3, 4"#,
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

/// Takes sums back from hours that are folded, in nobody else's hands; answers how many hours there were.
pub async fn take_back(connection: &mut PgConnection, taken: &[(Slot<'_>, Delta)]) -> sqlx::Result<u64> {
    let ids: Vec<_> = taken.iter().map(|(slot, _)| slot.workspace_id.uuid()).collect();
    let days: Vec<_> = taken.iter().map(|(slot, _)| slot.usage_date.date()).collect();
    let meters: Vec<_> = taken.iter().map(|(slot, _)| slot.meter_id).collect();
    let dimensions: Vec<_> = taken.iter().map(|(slot, _)| slot.dimension.to_owned()).collect();
    let hours: Vec<_> = taken.iter().map(|(slot, _)| slot.hour).collect();
    let late: Vec<_> = taken.iter().map(|(slot, _)| slot.is_late).collect();
    let sums: Result<Vec<_>, _> =
        taken.iter().map(|(_, delta)| Decimal::try_from_i128_with_scale(delta.sum, 0)).collect();
    let sums = sums.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let counts: Vec<_> = taken.iter().map(|(_, delta)| delta.record_count).collect();
    let done = sqlx::query!(
        "update workspace.hourly_usage h set sum = h.sum - t.sum, record_count = h.record_count - t.record_count, \
           in_time_sum = h.in_time_sum - case when t.is_late then 0 else t.sum end, \
           in_time_count = h.in_time_count - case when t.is_late then 0 else t.record_count end \
         from unnest($1::uuid[], $2::date[], $3::smallint[], $4::text[], $5::smallint[], $6::boolean[], $7::numeric[], $8::bigint[]) \
           as t (workspace_id, usage_date, meter_id, dimension, hour, is_late, sum, record_count) \
         where h.workspace_id = t.workspace_id and h.usage_date = t.usage_date and h.meter_id = t.meter_id \
           and h.dimension = t.dimension and h.hour = t.hour",
        &ids,
        &days,
        &meters,
        &dimensions,
        &hours,
        &late,
        &sums,
        &counts,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Finds the largest quantities of hours of one workspace's day again among its records, after some were taken back. Until the day is closed they are
/// also the largest that came in time. Goes once through the records of the day.
pub async fn find_maxima_again(connection: &mut PgConnection, slots: &[Slot<'_>]) -> sqlx::Result<()> {
    let Some(first) = slots.first() else { return Ok(()) };
    let meters: Vec<_> = slots.iter().map(|slot| slot.meter_id).collect();
    let dimensions: Vec<_> = slots.iter().map(|slot| slot.dimension.to_owned()).collect();
    let hours: Vec<_> = slots.iter().map(|slot| slot.hour).collect();
    sqlx::query!(
        "with slots as (select * from unnest($3::smallint[], $4::text[], $5::smallint[]) as s (meter_id, dimension, hour)), \
           left_over as (select m.measure_id as meter_id, r.dimension, \
               extract(hour from r.event_time at time zone interval '08:00')::smallint as hour, max(r.quantity) as max \
             from workspace.usage_records r join workspace.meters m using (meter_id) \
             where r.usage_date = $2 and r.workspace_id = $1 and m.measure_id = any($3) \
               and not exists (select 1 from workspace.usage_voids v where v.workspace_id = r.workspace_id \
                 and v.usage_date = r.usage_date and v.event_id = r.event_id) group by 1, 2, 3), \
           found as (select s.meter_id, s.dimension, s.hour, coalesce(l.max, 0) as max from slots s \
             left join left_over l using (meter_id, dimension, hour)) \
         update workspace.hourly_usage h set max = f.max, in_time_max = case when $6 then h.in_time_max else f.max end from found f \
         where h.workspace_id = $1 and h.usage_date = $2 and h.meter_id = f.meter_id and h.dimension = f.dimension and h.hour = f.hour",
        first.workspace_id.uuid(),
        first.usage_date.date(),
        &meters,
        &dimensions,
        &hours,
        first.is_late,
    )
    .execute(connection)
    .await
    .map(drop)
}
