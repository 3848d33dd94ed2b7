//! Reads what a workspace used: of days that are sealed and unchanged their lines, of all others their hours. Never records.

use std::collections::{BTreeMap, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::status::Refusal;
use time::{Date, OffsetDateTime};

use super::App;
use super::drop_partitions::{HOURS_KEPT_DAYS, first_day_kept};
use crate::domain::daily_usage::{DailyLine, DayRules, HourlyUsage, reduce, reduce_hour};
use crate::domain::meter::Meters;
use crate::domain::retention::RetentionPolicy;
use crate::domain::usage_key::SeenTogether;
use crate::domain::usage_period::{Granularity, Sums, UsedPeriod, whole_months};
use crate::store;
use crate::store::usage_of_workspace::{UsageOfWorkspace, Wanted};
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

    fn wanted(&self) -> Wanted<'_> {
        let range = (self.first, self.last);
        Wanted {
            range,
            by_hour: self.granularity == Granularity::Hour,
            months: match self.granularity {
                Granularity::Month => whole_months(range),
                Granularity::Hour | Granularity::Day => (self.first, self.first),
            },
            item: self.item.as_deref(),
            dimension: self.dimension.as_deref(),
        }
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
    let id = asked.workspace_id;
    let read = {
        let connection = &mut *app.pool.acquire().await?;
        store::usage_of_workspace::read(connection, id, asked.wanted()).await?
    };
    let Some(mut usage) = read else { return Ok(None) };
    let (policies, commercial_from) = (std::mem::take(&mut usage.policies), usage.commercial_from);
    let rules = Rules { meters: &meters, policies: &policies, commercial_from };
    let kept = kept(app, &rules, &usage)?;
    let mut sums = UsedSums::default();
    let too_much = || Failure::fatal(format!("the usage of {id} adds up to more than any number"));
    let changed = usage.changed_lines.iter().filter(|(date, _)| kept.contains(date));
    for (date, line) in usage.unchanged_lines.iter().chain(changed) {
        let day = UsageDate::from_date(*date).map_err(Failure::fatal)?;
        sums.put(asked, day, line).ok_or_else(too_much)?;
    }
    for day in asked.days() {
        let Some(hours) = usage.hours.remove(&day.date()) else { continue };
        if !kept.contains(&day.date()) {
            let keys = match rules.of(day).divides_day() {
                true => {
                    let connection = &mut *app.pool.acquire().await?;
                    store::usage_keys::list_together(connection, id, day, Late::Included).await?
                }
                false => Vec::new(),
            };
            for line in rules.lines(id, day, &hours, &keys)? {
                sums.put(asked, day, &line).ok_or_else(too_much)?;
            }
        }
        if asked.granularity == Granularity::Hour {
            sums.put_hours(asked, &rules, day, hours)?;
        }
    }
    Ok(Some(sums.into_used(usage.sealed.len() == asked.days().count())))
}

/// The days of which the seal tells: of one that changed since, the hours and points do, as long as they are there.
fn kept(app: &App, rules: &Rules<'_>, usage: &UsageOfWorkspace) -> Result<HashSet<Date>, Failure<Refusal>> {
    let today = app.today();
    let (forgotten, keys_kept) = (today.plus_days(-HOURS_KEPT_DAYS), first_day_kept(today));
    let mut kept = HashSet::new();
    for date in &usage.sealed {
        let day = UsageDate::from_date(*date).map_err(Failure::fatal)?;
        let lost = || day < forgotten || (day < keys_kept && rules.of(day).divides_day());
        if !usage.changed.contains(date) || lost() {
            kept.insert(*date);
        }
    }
    Ok(kept)
}

/// What adds up while days are gone through.
#[derive(Debug, Default)]
struct UsedSums {
    all: Sums,
    periods: Periods,
    hours: Vec<UsedPeriod>,
}

impl UsedSums {
    /// None: past every number that there is.
    fn put(&mut self, asked: &Asked, day: UsageDate, line: &DailyLine) -> Option<()> {
        if !asked.wants(line) {
            return Some(());
        }
        self.all.add(line)?;
        match asked.granularity {
            Granularity::Hour => Some(()),
            Granularity::Day | Granularity::Month => {
                let period = asked.granularity.period(day, 0, (asked.first, asked.last));
                self.periods.entry(period).or_default().add(line)
            }
        }
    }

    /// Each hour for itself; days come in order.
    fn put_hours(
        &mut self,
        asked: &Asked,
        rules: &Rules<'_>,
        day: UsageDate,
        usage: Vec<HourlyUsage>,
    ) -> Result<(), Failure<Refusal>> {
        let id = asked.workspace_id;
        for (hour, usage) in apart(usage) {
            let lines = reduce_hour(rules.of(day), &usage)
                .map_err(|unreducible| Failure::fatal(format!("{id} on {day}: {unreducible}")))?;
            let lines: Vec<DailyLine> = lines.into_iter().filter(|line| asked.wants(line)).collect();
            if !lines.is_empty() {
                let (start, end) = asked.granularity.period(day, hour, (asked.first, asked.last));
                self.hours.push(UsedPeriod { start, end, lines });
            }
        }
        Ok(())
    }

    fn into_used(self, is_sealed: bool) -> Used {
        let period = |((start, end), sums): (_, Sums)| UsedPeriod { start, end, lines: sums.into_lines() };
        let periods = self.periods.into_iter().map(period).chain(self.hours).collect();
        Used { lines: self.all.into_lines(), is_sealed, periods }
    }
}

fn apart(usage: Vec<HourlyUsage>) -> BTreeMap<i16, Vec<HourlyUsage>> {
    let mut hours: BTreeMap<i16, Vec<HourlyUsage>> = BTreeMap::new();
    for hourly in usage {
        hours.entry(hourly.hour).or_default().push(hourly);
    }
    hours
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
    let first = today.plus_days(1 - i64::from(today.date().day()));
    let granularity = Granularity::Day;
    let asked = Asked { workspace_id, first, last: today, granularity, item: None, dimension: None };
    let Some(used) = query_usage(app, &asked).await? else { return Ok(None) };
    let mut month = Sums::default();
    let mut today_lines = Vec::new();
    for period in used.periods {
        if period.start == today.start() {
            today_lines = period.lines;
            continue;
        }
        for line in &period.lines {
            let too_much = || format!("the month of {workspace_id} adds up to more than any number");
            month.add(line).ok_or_else(|| Failure::fatal(too_much()))?;
        }
    }
    Ok(Some(Overview { today, today_lines, month_lines: month.into_lines() }))
}
