//! Reads what a workspace used: of days that are sealed and unchanged their lines, of all others their hours. Never records.

use std::collections::{BTreeMap, HashMap, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::status::Refusal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::App;
use super::drop_partitions::{HOURS_KEPT_DAYS, first_day_kept};
use crate::domain::daily_usage::{DailyLine, DayRules, HourlyUsage, reduce, reduce_hour};
use crate::domain::meter::Meters;
use crate::domain::retention::RetentionPolicy;
use crate::domain::usage_key::SeenTogether;
use crate::domain::usage_period::{Granularity, Sums, UsedPeriod};
use crate::store;
use crate::store::usage_records::Late;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// The first day.
    pub first: UsageDate,
    /// The last one.
    pub last: UsageDate,
    /// In periods of what length.
    pub granularity: Granularity,
    /// Only this item.
    pub item: Option<String>,
    /// Only this index or rule.
    pub dimension: Option<String>,
}

impl Asked {
    fn wants(&self, line: &DailyLine) -> bool {
        self.item.as_ref().is_none_or(|item| *item == line.item)
            && self.dimension.as_ref().is_none_or(|dimension| *dimension == line.dimension)
    }

    fn days(&self) -> impl Iterator<Item = UsageDate> {
        let (first, last) = (self.first, self.last);
        (0..).map(move |number| first.plus_days(number)).take_while(move |day| *day <= last)
    }
}

/// What was used.
#[derive(Debug)]
pub struct Used {
    /// Of all days together.
    pub lines: Vec<DailyLine>,
    /// Every day is sealed.
    pub is_sealed: bool,
    /// In order of time, without those that are empty.
    pub periods: Vec<UsedPeriod>,
}

/// What the lines of a workspace's days follow from, but the usage.
struct Rules<'a> {
    meters: &'a Meters,
    policies: &'a [RetentionPolicy],
    commercial_from: Option<OffsetDateTime>,
}

impl Rules<'_> {
    fn of(&self, day: UsageDate) -> DayRules<'_> {
        let commercial_from = self.commercial_from.unwrap_or_else(|| day.start());
        DayRules { day, meters: self.meters, policies: self.policies, commercial_from }
    }

    /// A trial's usage is shown as used, though it is free.
    fn lines(
        &self,
        id: WorkspaceId,
        day: UsageDate,
        usage: &[HourlyUsage],
        keys: &[SeenTogether],
    ) -> Result<Vec<DailyLine>, Failure<Refusal>> {
        reduce(self.of(day), usage, keys)
            .map_err(|unreducible| Failure::fatal(format!("{id} on {day}: {unreducible}")))
    }
}

type Periods = BTreeMap<(OffsetDateTime, OffsetDateTime), Sums>;

/// None when there is no such workspace.
pub async fn query_usage(app: &App, asked: &Asked) -> Result<Option<Used>, Failure<Refusal>> {
    let meters = app.meters().await?;
    let mut connection = app.pool.acquire().await?;
    let id = asked.workspace_id;
    let Some(workspace) = store::workspaces::get(&mut connection, id).await? else { return Ok(None) };
    let policies = store::retention_policies::list(&mut connection, id).await?;
    let rules = Rules { meters: &meters, policies: &policies, commercial_from: workspace.commercial_from };
    let range = (asked.first, asked.last);
    let sealed = store::sealed_days::list_of_workspace(&mut connection, id, range).await?;
    let mut periods = Periods::new();
    let mut all = Sums::default();
    let mut put = |day: UsageDate, line: &DailyLine, in_period: bool| {
        if !asked.wants(line) {
            return Some(());
        }
        all.add(line)?;
        match in_period {
            true => periods.entry(asked.granularity.period(day, 0, range)).or_default().add(line),
            false => Some(()),
        }
    };
    let too_much = || Failure::fatal(format!("the usage of {id} adds up to more than any number"));
    let by_hour = asked.granularity == Granularity::Hour;
    let forgotten = app.today().plus_days(-HOURS_KEPT_DAYS);
    let keys_kept = first_day_kept(app.today());
    // Of a day that changed since its seal the hours tell, as long as they are there.
    let kept = sealed.iter().filter_map(|(date, changed)| {
        let day = UsageDate::from_date(*date).ok()?;
        let lost = day < forgotten || (day < keys_kept && rules.of(day).divides_day());
        (!changed || lost).then_some(*date)
    });
    let kept: HashSet<Date> = kept.collect();
    if !kept.is_empty() {
        for (date, line) in store::sealed_days::lines_of_workspace(&mut connection, id, range).await? {
            let Some(day) = UsageDate::from_date(date).ok().filter(|_| kept.contains(&date)) else {
                continue;
            };
            put(day, &line, !by_hour).ok_or_else(too_much)?;
        }
    }
    let open: Vec<UsageDate> = asked.days().filter(|day| !kept.contains(&day.date())).collect();
    let mut hours = hours_of(&mut connection, id, &open).await?;
    for day in &open {
        let Some(usage) = hours.remove(&day.date()) else { continue };
        let keys = match rules.of(*day).divides_day() {
            true => store::usage_keys::list_together(&mut connection, id, *day, Late::Included).await?,
            false => Vec::new(),
        };
        for line in rules.lines(id, *day, &usage, &keys)? {
            put(*day, &line, !by_hour).ok_or_else(too_much)?;
        }
    }
    if by_hour {
        periods = by_the_hour(&mut connection, asked, &rules).await?;
    }
    let is_sealed = sealed.len() == asked.days().count();
    let period = |((start, end), sums): (_, Sums)| UsedPeriod { start, end, lines: sums.into_lines() };
    let periods = periods.into_iter().map(period).collect();
    Ok(Some(Used { lines: all.into_lines(), is_sealed, periods }))
}

/// The hours of all days, sealed or not, each for itself.
async fn by_the_hour(
    connection: &mut PgConnection,
    asked: &Asked,
    rules: &Rules<'_>,
) -> Result<Periods, Failure<Refusal>> {
    let id = asked.workspace_id;
    let days: Vec<UsageDate> = asked.days().collect();
    let mut hours = hours_of(connection, id, &days).await?;
    let mut periods = Periods::new();
    for day in days {
        for (hour, usage) in apart(hours.remove(&day.date()).unwrap_or_default()) {
            let lines = reduce_hour(rules.of(day), &usage)
                .map_err(|unreducible| Failure::fatal(format!("{id} on {day}: {unreducible}")))?;
            for line in lines.iter().filter(|line| asked.wants(line)) {
                let period = asked.granularity.period(day, hour, (asked.first, asked.last));
                let added = periods.entry(period).or_default().add(line);
                added.ok_or_else(|| {
                    Failure::fatal(format!("an hour of {id} adds up to more than any number"))
                })?;
            }
        }
    }
    Ok(periods)
}

fn apart(usage: Vec<HourlyUsage>) -> BTreeMap<i16, Vec<HourlyUsage>> {
    let mut hours: BTreeMap<i16, Vec<HourlyUsage>> = BTreeMap::new();
    for hourly in usage {
        hours.entry(hourly.hour).or_default().push(hourly);
    }
    hours
}

async fn hours_of(
    connection: &mut PgConnection,
    id: WorkspaceId,
    days: &[UsageDate],
) -> sqlx::Result<HashMap<Date, Vec<HourlyUsage>>> {
    let dates: Vec<Date> = days.iter().map(|day| day.date()).collect();
    let mut hours: HashMap<Date, Vec<HourlyUsage>> = HashMap::new();
    if dates.is_empty() {
        return Ok(hours);
    }
    let records = store::hourly_usage::list_of_days(&mut *connection, id, &dates).await?;
    let points = store::usage_points::list_of_days(connection, id, &dates).await?;
    for (date, hourly) in records.into_iter().chain(points) {
        hours.entry(date).or_default().push(hourly);
    }
    Ok(hours)
}

/// What was used today up to now, and in this month up to yesterday (MT-7).
#[derive(Debug)]
pub struct Overview {
    /// Today.
    pub today: UsageDate,
    /// Of today.
    pub today_lines: Vec<DailyLine>,
    /// Of the days of the month before it.
    pub month_lines: Vec<DailyLine>,
}

/// None when there is no such workspace.
pub async fn overview(app: &App, workspace_id: WorkspaceId) -> Result<Option<Overview>, Failure<Refusal>> {
    let today = app.today();
    let granularity = Granularity::Day;
    let asked = Asked { workspace_id, first: today, last: today, granularity, item: None, dimension: None };
    let Some(used) = query_usage(app, &asked).await? else { return Ok(None) };
    let days_before = i64::from(today.date().day()) - 1;
    let month_lines = if days_before == 0 {
        Vec::new()
    } else {
        let month = Asked { first: today.plus_days(-days_before), last: today.plus_days(-1), ..asked };
        query_usage(app, &month).await?.map(|used| used.lines).unwrap_or_default()
    };
    Ok(Some(Overview { today, today_lines: used.lines, month_lines }))
}
