//! `workspace.usage_voids`: inserted once, never changed.

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::usage_deltas::Slot;

/// Why each of these was taken back, where it was.
pub async fn reasons(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
    event_ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, String>> {
    let rows = sqlx::query!(
        "select event_id, reason from workspace.usage_voids where workspace_id = $1 and usage_date = $2 and event_id = any($3)",
        workspace_id.uuid(),
        day.date(),
        event_ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.event_id, row.reason)).collect())
}

/// Who takes records back, why and when.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// In words.
    pub reason: &'a str,
    /// Who.
    pub caller: &'a str,
    /// When.
    pub at: OffsetDateTime,
}

/// Takes records of one workspace and day back: their ids, what each counted for, and where. Answers which were not before.
pub async fn insert(
    connection: &mut PgConnection,
    taken: &[(Uuid, Slot<'_>, i64)],
    why: Why<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let ids: Vec<_> = taken.iter().map(|(_, slot, _)| slot.workspace_id.uuid()).collect();
    let days: Vec<_> = taken.iter().map(|(_, slot, _)| slot.usage_date.date()).collect();
    let events: Vec<_> = taken.iter().map(|(event_id, _, _)| *event_id).collect();
    let meters: Vec<_> = taken.iter().map(|(_, slot, _)| slot.meter_id).collect();
    let dimensions: Vec<_> = taken.iter().map(|(_, slot, _)| slot.dimension.to_owned()).collect();
    let hours: Vec<_> = taken.iter().map(|(_, slot, _)| slot.hour).collect();
    let counted: Vec<_> = taken.iter().map(|(_, _, counted)| *counted).collect();
    let late: Vec<_> = taken.iter().map(|(_, slot, _)| slot.is_late).collect();
    sqlx::query_scalar!(
        "insert into workspace.usage_voids (workspace_id, usage_date, event_id, meter_id, dimension, hour, counted, is_late, \
           reason, caller, voided_at) \
         select v.*, $9, $10, $11 from unnest($1::uuid[], $2::date[], $3::uuid[], $4::smallint[], $5::text[], $6::smallint[], \
           $7::bigint[], $8::boolean[]) as v \
         on conflict on constraint usage_voids_pkey do nothing returning event_id",
        &ids,
        &days,
        &events,
        &meters,
        &dimensions,
        &hours,
        &counted,
        &late,
        why.reason,
        why.caller,
        why.at,
    )
    .fetch_all(connection)
    .await
}
