//! `workspace.usage_sources`

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::Date;
use uuid::Uuid;

/// An item of a workspace on a day.
pub type Fed = (WorkspaceId, UsageDate, String);

/// How it is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By records.
    Records,
    /// By hourly points.
    Points,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Records => "RECORDS",
            Self::Points => "POINTS",
        }
    }
}

fn columns(fed: &[Fed]) -> (Vec<Uuid>, Vec<Date>, Vec<String>) {
    let ids = fed.iter().map(|(id, _, _)| id.uuid()).collect();
    let days = fed.iter().map(|(_, day, _)| day.date()).collect();
    (ids, days, fed.iter().map(|(_, _, item)| item.clone()).collect())
}

/// How each of these is fed, where it is known already.
pub async fn list(connection: &mut PgConnection, fed: &[Fed]) -> sqlx::Result<HashMap<Fed, Mode>> {
    let (ids, days, items) = columns(fed);
    let rows = sqlx::query!(
        "select s.workspace_id, s.usage_date, s.item, s.mode from workspace.usage_sources s \
         join unnest($1::uuid[], $2::date[], $3::text[]) as f (workspace_id, usage_date, item) \
           on f.workspace_id = s.workspace_id and f.usage_date = s.usage_date and f.item = s.item",
        &ids,
        &days,
        &items,
    )
    .fetch_all(connection)
    .await?;
    let entry = |(fed, mode): (&Fed, &str)| {
        (fed.clone(), if mode == Mode::Points.word() { Mode::Points } else { Mode::Records })
    };
    let mut known = HashMap::new();
    for row in rows {
        if let Ok(day) = UsageDate::from_date(row.usage_date) {
            let fed = (WorkspaceId::from_uuid(row.workspace_id), day, row.item);
            known.extend([entry((&fed, &row.mode))]);
        }
    }
    Ok(known)
}

/// Says how these are fed from now on, where nothing is known yet. Waits for a transaction that says the same or another thing.
pub async fn insert_missing(connection: &mut PgConnection, fed: &[Fed], mode: Mode) -> sqlx::Result<()> {
    let (ids, days, items) = columns(fed);
    sqlx::query!(
        "insert into workspace.usage_sources (workspace_id, usage_date, item, mode) \
         select f.workspace_id, f.usage_date, f.item, $4 \
         from unnest($1::uuid[], $2::date[], $3::text[]) as f (workspace_id, usage_date, item) \
         order by 1, 2, 3 on conflict on constraint usage_sources_pkey do nothing",
        &ids,
        &days,
        &items,
        mode.word(),
    )
    .execute(connection)
    .await
    .map(drop)
}
