//! `workspace.hourly_usage`, with what is not folded into it yet.

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

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
