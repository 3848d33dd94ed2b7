//! `workspace.usage_deltas`: what transactions of ingest add to the hours, until it is folded into `workspace.hourly_usage`.

use std::collections::HashMap;
use std::hash::BuildHasher;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

/// The class of the lock of whoever folds.
const FOLD: i32 = 0xf01d;

/// An hour of a measure of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot<'a> {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// On which day.
    pub usage_date: UsageDate,
    /// The measure.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: &'a str,
    /// 0 to 23, or 24 for the whole day.
    pub hour: i16,
    /// After the day was closed.
    pub is_late: bool,
}

/// What is added to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delta {
    /// To the sum; below zero for what is taken back.
    pub sum: i128,
    /// The largest quantity of it.
    pub max: i64,
    /// To the count.
    pub record_count: i64,
}

impl Delta {
    /// Adds one quantity.
    pub fn add(&mut self, counted: i64) {
        self.sum += i128::from(counted);
        self.max = self.max.max(counted);
        self.record_count += 1;
    }
}

/// What is added to hours, column by column.
#[derive(Debug, Default)]
pub struct DeltaColumns {
    /// Whose.
    pub workspace_ids: Vec<Uuid>,
    /// On which days.
    pub usage_dates: Vec<time::Date>,
    /// What is measured.
    pub meter_ids: Vec<i16>,
    /// Of what; empty where the meter has no dimension.
    pub dimensions: Vec<String>,
    /// From 0 to 23.
    pub hours: Vec<i16>,
    /// After the day was closed.
    pub late: Vec<bool>,
    /// What is added to the sums.
    pub sums: Vec<Decimal>,
    /// The largest quantities.
    pub maxima: Vec<i64>,
    /// What is added to the counts.
    pub record_counts: Vec<i64>,
}

/// The columns of what is added.
pub fn columns<S: BuildHasher>(deltas: &HashMap<Slot<'_>, Delta, S>) -> sqlx::Result<DeltaColumns> {
    let mut columns = DeltaColumns::default();
    for (slot, delta) in deltas {
        let sum = Decimal::try_from_i128_with_scale(delta.sum, 0);
        columns.workspace_ids.push(slot.workspace_id.uuid());
        columns.usage_dates.push(slot.usage_date.date());
        columns.meter_ids.push(slot.meter_id);
        columns.dimensions.push(slot.dimension.to_owned());
        columns.hours.push(slot.hour);
        columns.late.push(slot.is_late);
        columns.sums.push(sum.map_err(|error| sqlx::Error::Encode(error.into()))?);
        columns.maxima.push(delta.max);
        columns.record_counts.push(delta.record_count);
    }
    Ok(columns)
}

/// Adds to the hours.
pub async fn insert<S: BuildHasher>(
    connection: &mut PgConnection,
    deltas: &HashMap<Slot<'_>, Delta, S>,
) -> sqlx::Result<()> {
    if deltas.is_empty() {
        return Ok(());
    }
    let columns = columns(deltas)?;
    sqlx::query!(
        "insert into workspace.usage_deltas (workspace_id, usage_date, meter_id, dimension, hour, is_late, sum, max, record_count) \
         select d.* from unnest($1::uuid[], $2::date[], $3::smallint[], $4::text[], $5::smallint[], $6::boolean[], \
           $7::numeric[], $8::bigint[], $9::bigint[]) as d",
        &columns.workspace_ids,
        &columns.usage_dates,
        &columns.meter_ids,
        &columns.dimensions,
        &columns.hours,
        &columns.late,
        &columns.sums,
        &columns.maxima,
        &columns.record_counts,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Waits for whoever folds, and keeps others from it until the transaction ends.
pub async fn hold_fold(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1, 0)", FOLD).execute(connection).await.map(drop)
}

/// However many there are after an outage, they can be folded.
pub async fn allow_long(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("set local statement_timeout = '1h'").execute(connection).await.map(drop)
}

/// Which deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Any.
    Any,
    /// Those of a workspace's day.
    Of(WorkspaceId, UsageDate),
}

/// Folds deltas into their hours, all that are there; answers how many. In one statement: each is in one place or the other at any moment. Not a part of
/// them at a time: a table that is empty now and full soon has no statistics, and any plan that looks for some of its rows may be quadratic.
pub async fn fold(connection: &mut PgConnection, which: Which) -> sqlx::Result<i64> {
    let (day, of) = match which {
        Which::Any => (None, None),
        Which::Of(workspace_id, day) => (Some(day.date()), Some(workspace_id.uuid())),
    };
    sqlx::query_scalar!(
        r#"with taken as (
             delete from workspace.usage_deltas where $1::date is null or (usage_date = $1 and workspace_id = $2::uuid)
             returning workspace_id, usage_date, meter_id, dimension, hour, is_late, sum, max, record_count
           ), folded as (
             insert into workspace.hourly_usage as h (workspace_id, usage_date, meter_id, dimension, hour, sum, max, record_count,
               in_time_sum, in_time_max, in_time_count)
             select workspace_id, usage_date, meter_id, dimension, hour, sum(sum), max(max), sum(record_count),
               coalesce(sum(sum) filter (where not is_late), 0), coalesce(max(max) filter (where not is_late), 0),
               coalesce(sum(record_count) filter (where not is_late), 0)
             from taken group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
             on conflict (workspace_id, usage_date, meter_id, dimension, hour) do update set sum = h.sum + excluded.sum,
               max = greatest(h.max, excluded.max), record_count = h.record_count + excluded.record_count,
               in_time_sum = h.in_time_sum + excluded.in_time_sum, in_time_max = greatest(h.in_time_max, excluded.in_time_max),
               in_time_count = h.in_time_count + excluded.in_time_count
           ) select count(*) as "count!" from taken"#,
        day,
        of,
    )
    .fetch_one(connection)
    .await
}
