//! `workspace.late_usage`

use std::collections::BTreeMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// How much came late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LateCounts {
    /// Records.
    pub records: i64,
    /// Points.
    pub points: i64,
    /// Distinct keys.
    pub keys: i64,
    /// Records that were counted in time and taken back after.
    pub voids: i64,
}

/// Adds to what came late to days of workspaces.
pub async fn add(
    connection: &mut PgConnection,
    late: &BTreeMap<(WorkspaceId, UsageDate), LateCounts>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    if late.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = late.keys().map(|(id, _)| id.uuid()).collect();
    let days: Vec<_> = late.keys().map(|(_, day)| day.date()).collect();
    let records: Vec<_> = late.values().map(|counts| counts.records).collect();
    let points: Vec<_> = late.values().map(|counts| counts.points).collect();
    let keys: Vec<_> = late.values().map(|counts| counts.keys).collect();
    let voids: Vec<_> = late.values().map(|counts| counts.voids).collect();
    sqlx::query!(
        "insert into workspace.late_usage as l (workspace_id, usage_date, record_count, point_count, key_count, void_count, \
           first_at, last_at) \
         select a.*, $7, $7 from unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) as a \
         on conflict on constraint late_usage_pkey do update set record_count = l.record_count + excluded.record_count, \
           point_count = l.point_count + excluded.point_count, key_count = l.key_count + excluded.key_count, \
           void_count = l.void_count + excluded.void_count, last_at = greatest(l.last_at, excluded.last_at)",
        &ids,
        &days,
        &records,
        &points,
        &keys,
        &voids,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// What came late to a day, by workspace in order of id.
pub async fn list(
    connection: &mut PgConnection,
    day: UsageDate,
    after: Option<WorkspaceId>,
    limit: i64,
) -> sqlx::Result<Vec<(WorkspaceId, LateCounts)>> {
    let rows = sqlx::query!(
        "select workspace_id, record_count, point_count, key_count, void_count from workspace.late_usage \
         where usage_date = $1 and ($2::uuid is null or workspace_id > $2) order by workspace_id limit $3",
        day.date(),
        after.map(WorkspaceId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let entry = |(id, records, points, keys, voids)| {
        (WorkspaceId::from_uuid(id), LateCounts { records, points, keys, voids })
    };
    let counts = rows.into_iter().map(|row| {
        entry((row.workspace_id, row.record_count, row.point_count, row.key_count, row.void_count))
    });
    Ok(counts.collect())
}
