//! `workspace.read_usage`: everything that the answer to a query of one workspace follows from, of one moment.

use std::collections::{HashMap, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::retention_policies;
use crate::domain::daily_usage::{DailyLine, HourlyUsage};
use crate::domain::retention::RetentionPolicy;

/// Places that hours are kept at, per day: 24, and one for the whole day.
const SLOTS_PER_DAY: i32 = 25;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// From this day to that one.
    pub range: (UsageDate, UsageDate),
    /// The hours of sealed days too: their lines do not tell them.
    pub by_hour: bool,
    /// Of these days, which are whole calendar months, only the sums are wanted: from the first to the one after the last.
    pub months: (UsageDate, UsageDate),
    /// Lines only of this item.
    pub item: Option<&'a str>,
    /// Lines only of this index or rule.
    pub dimension: Option<&'a str>,
}

/// What is there.
#[derive(Debug, Default)]
pub struct UsageOfWorkspace {
    /// Usage before it is free.
    pub commercial_from: Option<OffsetDateTime>,
    /// All policies of the workspace, past and to come.
    pub policies: Vec<RetentionPolicy>,
    /// The days that are sealed, in order.
    pub sealed: Vec<Date>,
    /// Those of them that something came late to.
    pub changed: HashSet<Date>,
    /// Lines of sealed days that have not changed, by the date; or sums of a whole month, without its days that have changed, by that of its first.
    pub unchanged_lines: Vec<(Date, DailyLine)>,
    /// Lines of sealed days that have changed.
    pub changed_lines: Vec<(Date, DailyLine)>,
    /// Everything that is accepted, of days that are not sealed or have changed: of records and keys their sums, of points the highest revisions. What is
    /// folded and what is not are apart.
    pub hours: HashMap<Date, Vec<HourlyUsage>>,
}

/// Of one kind, with the columns that belong to it.
struct Row {
    kind: String,
    name: Option<String>,
    dimension: Option<String>,
    retention_days: Option<i32>,
    meter_id: Option<i16>,
    dates: Option<Vec<Date>>,
    changed_dates: Option<Vec<Date>>,
    slots: Option<Vec<i32>>,
    quantities: Option<Vec<Decimal>>,
    maxima: Option<Vec<i64>>,
    commercial_from: Option<OffsetDateTime>,
    effective_from: Option<OffsetDateTime>,
    changed_at: Option<OffsetDateTime>,
}

/// None when there is no such workspace.
pub async fn read(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    wanted: Wanted<'_>,
) -> sqlx::Result<Option<UsageOfWorkspace>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select kind as "kind!", name, dimension, retention_days, meter_id, dates, changed_dates, slots,
             quantities as "quantities: Vec<Decimal>", maxima, commercial_from, effective_from, changed_at from workspace.read_usage($1, $2, $3, $4, $5, $6, $7, $8)"#,
        workspace_id.uuid(),
        wanted.range.0.date(),
        wanted.range.1.date(),
        wanted.by_hour,
        wanted.months.0.date(),
        wanted.months.1.date(),
        wanted.item,
        wanted.dimension,
    )
    .fetch_all(connection)
    .await?;
    let is_known = !rows.is_empty();
    let mut usage = UsageOfWorkspace::default();
    for row in rows {
        let kind = row.kind.clone();
        let put = match kind.as_str() {
            "POLICY" => usage.put_policy(workspace_id, row)?,
            "DAYS" => usage.put_days(row),
            "CHANGED" => lines(row).map(|lines| usage.changed_lines.extend(lines)),
            "UNCHANGED" => lines(row).map(|lines| usage.unchanged_lines.extend(lines)),
            "HOURS" => usage.put_hours(wanted.range.0, row),
            _ => None,
        };
        put.ok_or_else(|| Corrupt::new("read_usage", workspace_id.uuid(), kind))?;
    }
    Ok(is_known.then_some(usage))
}

/// A column that belongs to the kind and is null, or has another length than the one beside it, makes None of each of these.
impl UsageOfWorkspace {
    /// A workspace without any has one row that tells of itself alone.
    fn put_policy(&mut self, workspace_id: WorkspaceId, row: Row) -> Result<Option<()>, Corrupt> {
        self.commercial_from = row.commercial_from;
        let Some(data_type) = row.name else { return Ok(Some(())) };
        let columns = row.dimension.zip(row.retention_days).zip(row.effective_from);
        let Some(((dimension, days), effective_from)) = columns else { return Ok(None) };
        self.policies.push(RetentionPolicy::try_from(retention_policies::Row {
            workspace_id: workspace_id.uuid(),
            data_type,
            dimension,
            days,
            effective_from,
            changed_at: row.changed_at,
        })?);
        Ok(Some(()))
    }

    fn put_days(&mut self, row: Row) -> Option<()> {
        self.sealed = row.dates?;
        self.changed = row.changed_dates?.into_iter().collect();
        Some(())
    }

    fn put_hours(&mut self, first: UsageDate, row: Row) -> Option<()> {
        let (meter_id, dimension, retention_days) = (row.meter_id?, row.dimension?, row.retention_days?);
        let (slots, sums, maxima) = (row.slots?, row.quantities?, row.maxima?);
        if slots.len() != sums.len() || slots.len() != maxima.len() {
            return None;
        }
        for ((slot, sum), max) in slots.into_iter().zip(sums).zip(maxima) {
            let date = first.plus_days(i64::from(slot.div_euclid(SLOTS_PER_DAY))).date();
            let hour = i16::try_from(slot.rem_euclid(SLOTS_PER_DAY)).ok()?;
            let (dimension, max) = (dimension.clone(), Decimal::from(max));
            let hourly = HourlyUsage { meter_id, dimension, retention_days, hour, sum, max };
            self.hours.entry(date).or_default().push(hourly);
        }
        Some(())
    }
}

fn lines(row: Row) -> Option<impl Iterator<Item = (Date, DailyLine)>> {
    let (item, dimension, retention_days) = (row.name?, row.dimension?, row.retention_days?);
    let (dates, quantities) = (row.dates?, row.quantities?);
    if dates.len() != quantities.len() {
        return None;
    }
    Some(dates.into_iter().zip(quantities).map(move |(date, quantity)| {
        let (item, dimension) = (item.clone(), dimension.clone());
        (date, DailyLine { item, dimension, retention_days, quantity })
    }))
}
