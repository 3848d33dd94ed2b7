//! `workspace.usage_suspects`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// An id that was counted on two neighbouring days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// The day of the record that came second.
    pub usage_date: UsageDate,
    /// The id.
    pub event_id: Uuid,
    /// The day of the one that was there.
    pub other_date: UsageDate,
}

/// Notes suspects, once each.
pub async fn insert(
    connection: &mut PgConnection,
    suspects: &[Suspect],
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let ids: Vec<_> = suspects.iter().map(|suspect| suspect.workspace_id.uuid()).collect();
    let days: Vec<_> = suspects.iter().map(|suspect| suspect.usage_date.date()).collect();
    let events: Vec<_> = suspects.iter().map(|suspect| suspect.event_id).collect();
    let others: Vec<_> = suspects.iter().map(|suspect| suspect.other_date.date()).collect();
    sqlx::query!(
        "insert into workspace.usage_suspects (workspace_id, usage_date, event_id, other_date, noted_at) \
         select s.*, $5 from unnest($1::uuid[], $2::date[], $3::uuid[], $4::date[]) as s \
         on conflict on constraint usage_suspects_pkey do nothing",
        &ids,
        &days,
        &events,
        &others,
        now,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The suspects of a day, in order of workspace and event.
pub async fn list(
    connection: &mut PgConnection,
    day: UsageDate,
    after: Option<(WorkspaceId, Uuid)>,
    limit: i64,
) -> sqlx::Result<Vec<Suspect>> {
    let rows = sqlx::query!(
        "select workspace_id, event_id, other_date from workspace.usage_suspects \
         where usage_date = $1 and ($2::uuid is null or (workspace_id, event_id) > ($2, $3)) \
         order by workspace_id, event_id limit $4",
        day.date(),
        after.map(|(workspace_id, _)| workspace_id.uuid()),
        after.map(|(_, event_id)| event_id),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let suspect = |workspace_id: Uuid, event_id, other: time::Date| {
        let other_date = UsageDate::from_date(other);
        Ok(Suspect {
            workspace_id: WorkspaceId::from_uuid(workspace_id),
            usage_date: day,
            event_id,
            other_date: other_date.map_err(|error| Corrupt::new("usage_suspects", event_id, error))?,
        })
    };
    rows.into_iter().map(|row| suspect(row.workspace_id, row.event_id, row.other_date)).collect()
}
