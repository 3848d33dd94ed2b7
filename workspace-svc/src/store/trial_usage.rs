//! `workspace.trial_usage`

use std::collections::{BTreeMap, BTreeSet};

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::Date;
use uuid::Uuid;

use crate::domain::trial::Counter;

type Columns = (Vec<Uuid>, Vec<Date>, Vec<i16>);

fn columns<'a>(counters: impl Iterator<Item = &'a Counter>) -> Columns {
    let mut columns = Columns::default();
    for (id, day, meter_id) in counters {
        columns.0.push(id.uuid());
        columns.1.push(day.date());
        columns.2.push(*meter_id);
    }
    columns
}

/// Makes these counters where they are missing, and locks them, in the order of their keys. Answers what is used.
pub async fn hold(
    connection: &mut PgConnection,
    counters: &BTreeSet<Counter>,
) -> sqlx::Result<BTreeMap<Counter, i64>> {
    let (ids, days, meters) = columns(counters.iter());
    sqlx::query!(
        "insert into workspace.trial_usage (workspace_id, usage_date, meter_id, quantity) \
         select k.workspace_id, k.usage_date, k.meter_id, 0 \
         from unnest($1::uuid[], $2::date[], $3::smallint[]) as k (workspace_id, usage_date, meter_id) \
         order by 1, 2, 3 on conflict on constraint trial_usage_pkey do nothing",
        &ids,
        &days,
        &meters,
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        "select u.workspace_id, u.usage_date, u.meter_id, u.quantity from workspace.trial_usage u \
         join unnest($1::uuid[], $2::date[], $3::smallint[]) as k (workspace_id, usage_date, meter_id) \
           on k.workspace_id = u.workspace_id and k.usage_date = u.usage_date and k.meter_id = u.meter_id \
         order by u.workspace_id, u.usage_date, u.meter_id for update of u",
        &ids,
        &days,
        &meters,
    )
    .fetch_all(connection)
    .await?;
    let mut used = BTreeMap::new();
    for row in rows {
        let day = UsageDate::from_date(row.usage_date);
        let day = day.map_err(|error| Corrupt::new("trial_usage", row.workspace_id, error))?;
        used.insert((WorkspaceId::from_uuid(row.workspace_id), day, row.meter_id), row.quantity);
    }
    Ok(used)
}

/// Adds to counters that are held. What is given back of usage that was never counted leaves 0.
pub async fn add(connection: &mut PgConnection, added: &BTreeMap<Counter, i64>) -> sqlx::Result<()> {
    if added.is_empty() {
        return Ok(());
    }
    let (ids, days, meters) = columns(added.keys());
    let quantities: Vec<i64> = added.values().copied().collect();
    sqlx::query!(
        "update workspace.trial_usage u set quantity = greatest(u.quantity + k.quantity, 0) \
         from unnest($1::uuid[], $2::date[], $3::smallint[], $4::bigint[]) as k (workspace_id, usage_date, meter_id, quantity) \
         where k.workspace_id = u.workspace_id and k.usage_date = u.usage_date and k.meter_id = u.meter_id",
        &ids,
        &days,
        &meters,
        &quantities,
    )
    .execute(connection)
    .await
    .map(drop)
}
