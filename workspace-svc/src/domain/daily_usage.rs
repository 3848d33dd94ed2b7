//! One number per item, dimension and retention from the 24 hours of a day (MT-3): sum or maximum per meter, then the largest
//! over the item's meters of value / divisor. Pure, and blind to order.

use std::collections::{BTreeMap, BTreeSet};

use chassis::civil::UsageDate;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use super::meter::{Counting, Meter, Meters, Reduction};
use super::retention::{DataType, RetentionPolicy, days_in_force};
use super::usage_key::SeenTogether;

/// What a meter has for one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyUsage {
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// A policy named by the producer; 0 for the workspace's own.
    pub retention_days: i32,
    /// 0 to 23; 24 for the whole day of a meter that counts the distinct keys of a day.
    pub hour: i16,
    /// The sum of what was reported for the hour.
    pub sum: Decimal,
    /// The largest of it.
    pub max: Decimal,
}

/// One quantity of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyLine {
    /// The billing item.
    pub item: String,
    /// The index or rule.
    pub dimension: String,
    /// The retention that sets the price; 0 for an item with one price.
    pub retention_days: i32,
    /// How much, with at most 2 places.
    pub quantity: Decimal,
}

/// Usage that cannot be reduced: the rows contradict the reference data, or there is more than can be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreducible {
    /// No meter has the number.
    #[error("no meter {0}")]
    Meter(i16),
    /// No policy holds.
    #[error("no retention policy for {0:?} at hour {1}")]
    Policy(DataType, i16),
    /// An item adds up to more than is kept.
    #[error("{0} adds up to more than is kept")]
    TooLarge(String),
}

/// 10^28: a quantity is below.
const QUANTITY_LIMIT: Decimal = Decimal::from_parts(268_435_456, 1_042_612_833, 542_101_086, false, 0);

/// Everything that a day's quantities follow from, but the usage.
#[derive(Debug, Clone, Copy)]
pub struct DayRules<'a> {
    /// The day.
    pub day: UsageDate,
    /// All meters.
    pub meters: &'a Meters,
    /// The workspace's policies.
    pub policies: &'a [RetentionPolicy],
    /// Usage before this hour is free and hidden (DEC-13).
    pub commercial_from: OffsetDateTime,
}

impl<'a> DayRules<'a> {
    /// Whether a part of the day has other rules for distinct keys: an upgrade or a change of their retention is inside it.
    pub fn divides_day(&self) -> bool {
        let inside = |moment: OffsetDateTime| self.day.start() < moment && moment < self.day.end();
        let of_keys = |policy: &&RetentionPolicy| {
            let same = |meter: &Meter| meter.data_type == Some(policy.data_type);
            self.meters.0.iter().any(|meter| meter.counting == Counting::DistinctDay && same(meter))
        };
        let mut policies = self.policies.iter().filter(of_keys);
        inside(self.commercial_from) || policies.any(|policy| inside(policy.effective_from))
    }

    /// The days of retention that hold for an hour; 0 for an item with one price.
    fn retention(&self, meter: &Meter, dimension: &str, hour: i16) -> Result<i32, Unreducible> {
        let Some(data_type) = meter.data_type else { return Ok(0) };
        let moment = self.day.start() + Duration::hours(i64::from(hour));
        days_in_force(self.policies, data_type, dimension, moment).ok_or(Unreducible::Policy(data_type, hour))
    }

    /// What keys count for that were seen in the same hours: once in each bucket that one of the hours is in (DEC-13, DEC-16).
    fn put_keys(&self, keys: &'a SeenTogether, reduced: &mut Reduced<'a>) -> Result<(), Unreducible> {
        let meter = self.meters.get(keys.meter_id).ok_or(Unreducible::Meter(keys.meter_id))?;
        let mut buckets = BTreeSet::new();
        for hour in 0..24_i16 {
            let charged = self.day.start() + Duration::hours(i64::from(hour)) >= self.commercial_from;
            if charged && keys.hours.checked_shr(u32::from(hour.unsigned_abs())).unwrap_or_default() & 1 == 1
            {
                buckets.insert(self.retention(meter, &keys.dimension, hour)?);
            }
        }
        for days in buckets {
            let value = reduced.entry((keys.meter_id, days, keys.dimension.as_str())).or_default();
            *value = add(*value, keys.counted, &meter.item)?;
        }
        Ok(())
    }
}

fn add(value: Decimal, more: Decimal, item: &str) -> Result<Decimal, Unreducible> {
    value.checked_add(more).ok_or_else(|| Unreducible::TooLarge(item.to_owned()))
}

/// Item, dimension and days of retention.
type Bucket<'a> = (&'a str, &'a str, i32);
/// By meter, days of retention and dimension: mostly told apart by numbers.
type Reduced<'a> = BTreeMap<(i16, i32, &'a str), Decimal>;

/// The lines of a day, sorted; what is nothing has no line.
///
/// Distinct keys of a day are one row for the whole day. Where the day is divided, `keys` has them instead, by the hours in which they were seen.
pub fn reduce(
    rules: DayRules<'_>,
    usage: &[HourlyUsage],
    keys: &[SeenTogether],
) -> Result<Vec<DailyLine>, Unreducible> {
    reduce_span(rules, usage, keys, Span::Day)
}

/// The lines of one hour: of distinct keys those that were seen in it.
pub fn reduce_hour(rules: DayRules<'_>, usage: &[HourlyUsage]) -> Result<Vec<DailyLine>, Unreducible> {
    reduce_span(rules, usage, &[], Span::Hour)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Day,
    Hour,
}

fn reduce_span<'a>(
    rules: DayRules<'a>,
    usage: &'a [HourlyUsage],
    keys: &'a [SeenTogether],
    span: Span,
) -> Result<Vec<DailyLine>, Unreducible> {
    let mut reduced = Reduced::new();
    let divided = span == Span::Day && rules.divides_day();
    for hourly in usage {
        let meter = rules.meters.get(hourly.meter_id).ok_or(Unreducible::Meter(hourly.meter_id))?;
        let of_day = hourly.hour == 24;
        let skips = match span {
            Span::Day => of_day != (meter.counting == Counting::DistinctDay) || (of_day && divided),
            Span::Hour => of_day,
        };
        if skips {
            continue;
        }
        let hour = if of_day { 0 } else { hourly.hour };
        if rules.day.start() + Duration::hours(i64::from(hour)) < rules.commercial_from {
            continue;
        }
        let days = match hourly.retention_days {
            0 => rules.retention(meter, &hourly.dimension, hour)?,
            named => named,
        };
        let value = reduced.entry((hourly.meter_id, days, hourly.dimension.as_str())).or_default();
        *value = match meter.reduction {
            Reduction::Sum => add(*value, hourly.sum, &meter.item)?,
            Reduction::Max => (*value).max(hourly.max),
        };
    }
    if divided {
        let of_days = |keys: &&SeenTogether| {
            rules.meters.get(keys.meter_id).is_none_or(|meter| meter.counting == Counting::DistinctDay)
        };
        keys.iter().filter(of_days).try_for_each(|keys| rules.put_keys(keys, &mut reduced))?;
    }
    let mut lines: BTreeMap<Bucket<'_>, Decimal> = BTreeMap::new();
    for ((meter_id, days, dimension), value) in reduced {
        let meter = rules.meters.get(meter_id).ok_or(Unreducible::Meter(meter_id))?;
        // Exact: the value is an integer and the divisor 1, 10 or 100.
        let quantity = if meter.divisor == 1 { value } else { value / Decimal::from(meter.divisor) };
        if quantity >= QUANTITY_LIMIT {
            return Err(Unreducible::TooLarge(meter.item.clone()));
        }
        let line = lines.entry((meter.item.as_str(), dimension, days)).or_default();
        *line = (*line).max(quantity);
    }
    let line = |((item, dimension, retention_days), quantity): (Bucket<'_>, Decimal)| {
        let (item, dimension, quantity) = (item.to_owned(), dimension.to_owned(), quantity.normalize());
        DailyLine { item, dimension, retention_days, quantity }
    };
    Ok(lines.into_iter().map(line).filter(|line| !line.quantity.is_zero()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::domain::meter::tests::plain;

    fn meter(
        meter_id: i16,
        item: &str,
        reduction: Reduction,
        divisor: i64,
        data_type: Option<DataType>,
    ) -> Meter {
        Meter { reduction, divisor, data_type, ..plain(meter_id, item) }
    }

    fn meters() -> Meters {
        Meters(vec![
            meter(1, "timeseries", Reduction::Max, 1, Some(DataType::Metrics)),
            meter(2, "log", Reduction::Sum, 1, Some(DataType::Logs)),
            meter(7, "trace", Reduction::Sum, 1, Some(DataType::ApmTrace)),
            meter(8, "trace", Reduction::Sum, 10, Some(DataType::ApmTrace)),
            meter(10, "pv", Reduction::Sum, 1, Some(DataType::Rum)),
            meter(11, "pv", Reduction::Sum, 100, Some(DataType::Rum)),
            meter(14, "trigger", Reduction::Sum, 1, None),
            Meter {
                counting: Counting::DistinctDay,
                ..meter(22, "timeseries", Reduction::Sum, 1, Some(DataType::Metrics))
            },
        ])
    }

    fn policies() -> Vec<RetentionPolicy> {
        let policy = |data_type: DataType| RetentionPolicy {
            data_type,
            dimension: String::new(),
            days: data_type.default_days(),
            effective_from: datetime!(2026-01-01 00:00 UTC),
            changed_at: None,
        };
        DataType::ALL.into_iter().map(policy).collect()
    }

    fn hourly(meter_id: i16, hour: i16, quantity: i64) -> HourlyUsage {
        let quantity = Decimal::from(quantity);
        HourlyUsage {
            meter_id,
            dimension: String::new(),
            retention_days: 0,
            hour,
            sum: quantity,
            max: quantity,
        }
    }

    fn quantities(usage: &[HourlyUsage], policies: &[RetentionPolicy]) -> Vec<(String, i32, String)> {
        let day = "2026-11-24".parse().unwrap();
        let meters = meters();
        let commercial_from = datetime!(2026-01-01 00:00 UTC);
        let lines = reduce(DayRules { day, meters: &meters, policies, commercial_from }, usage, &[]).unwrap();
        lines.into_iter().map(|line| (line.item, line.retention_days, line.quantity.to_string())).collect()
    }

    fn line(item: &str, days: i32, quantity: &str) -> (String, i32, String) {
        (item.to_owned(), days, quantity.to_owned())
    }

    #[test]
    fn spans_and_rum_events_count_when_they_are_more() {
        let usage = [hourly(7, 3, 1_000_000), hourly(8, 3, 25_000_000)];
        assert_eq!(quantities(&usage, &policies()), [line("trace", 14, "2500000")]);
        let usage = [hourly(7, 3, 1_000_000), hourly(8, 4, 5_000_000)];
        assert_eq!(quantities(&usage, &policies()), [line("trace", 14, "1000000")]);
        let usage = [hourly(11, 0, 3_000_000), hourly(10, 23, 12_000)];
        assert_eq!(quantities(&usage, &policies()), [line("pv", 14, "30000")]);
        assert_eq!(quantities(&[hourly(8, 0, 7)], &policies()), [line("trace", 14, "0.7")]);
    }

    #[test]
    fn series_take_the_maximum_of_the_day_and_logs_the_sum() {
        let usage: Vec<_> =
            [100, 250, 400, 900].iter().zip(0..).map(|(&count, hour)| hourly(1, hour, count)).collect();
        assert_eq!(quantities(&usage, &policies()), [line("timeseries", 7, "900")]);
        let usage: Vec<_> = (0..24).map(|hour| hourly(2, hour, 1_000)).collect();
        assert_eq!(quantities(&usage, &policies()), [line("log", 14, "24000")]);
    }

    #[test]
    fn a_change_of_retention_divides_the_day_at_its_hour() {
        let mut changed = policies();
        changed.push(RetentionPolicy {
            data_type: DataType::ApmTrace,
            dimension: String::new(),
            days: 7,
            effective_from: datetime!(2026-11-24 12:00 +8),
            changed_at: None,
        });
        let usage = [hourly(7, 11, 1_000_000), hourly(7, 12, 1_000_000)];
        assert_eq!(quantities(&usage, &changed), [line("trace", 7, "1000000"), line("trace", 14, "1000000")]);
    }

    #[test]
    fn usage_from_before_the_upgrade_is_free() {
        let meters = meters();
        let commercial_from = datetime!(2026-11-24 10:00 +8);
        let rules = DayRules {
            day: "2026-11-24".parse().unwrap(),
            meters: &meters,
            policies: &policies(),
            commercial_from,
        };
        let lines = reduce(rules, &[hourly(14, 9, 5), hourly(14, 10, 7)], &[]).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].quantity, Decimal::from(7));
    }

    fn keys(hours: i32, counted: i64) -> SeenTogether {
        SeenTogether { meter_id: 22, dimension: String::new(), hours, counted: Decimal::from(counted) }
    }

    /// DEC-13, DEC-16: on a day that is divided a key counts in each part in which it was seen, and not in what was a trial.
    #[test]
    fn distinct_keys_count_once_in_each_part_of_a_divided_day() {
        let whole = [hourly(22, 24, 9), hourly(22, 3, 5), hourly(22, 4, 9)];
        assert_eq!(quantities(&whole, &policies()), [line("timeseries", 7, "9")], "the row of the day alone");
        let mut changed = policies();
        changed.push(RetentionPolicy {
            data_type: DataType::Metrics,
            dimension: String::new(),
            days: 3,
            effective_from: datetime!(2026-11-24 12:00 +8),
            changed_at: None,
        });
        let meters = meters();
        let all_day = datetime!(2026-01-01 00:00 UTC);
        let seen = [keys(1 << 3, 5), keys(1 << 3 | 1 << 20, 2), keys(1 << 12, 1)];
        let of = |policies: &[RetentionPolicy], commercial_from| {
            let day = "2026-11-24".parse().unwrap();
            let lines =
                reduce(DayRules { day, meters: &meters, policies, commercial_from }, &whole, &seen).unwrap();
            lines.iter().map(|line| (line.retention_days, line.quantity.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(of(&changed, all_day), [(3, "3".to_owned()), (7, "7".to_owned())]);
        assert_eq!(of(&policies(), datetime!(2026-11-24 10:00 +8)), [(7, "3".to_owned())]);
    }

    #[test]
    fn what_adds_up_to_more_than_is_kept_is_named() {
        let day = "2026-11-24".parse().unwrap();
        let (meters, policies) = (meters(), policies());
        let commercial_from = datetime!(2026-01-01 00:00 UTC);
        let reduced = |sums: &[Decimal]| {
            let hours = sums.iter().zip(0..);
            let usage: Vec<_> =
                hours.map(|(&sum, hour)| HourlyUsage { sum, ..hourly(14, hour, 0) }).collect();
            reduce(DayRules { day, meters: &meters, policies: &policies, commercial_from }, &usage, &[])
        };
        let largest = QUANTITY_LIMIT - Decimal::ONE;
        assert_eq!(reduced(&[largest]).unwrap()[0].quantity, largest);
        let too_large = Err(Unreducible::TooLarge("trigger".to_owned()));
        assert_eq!(reduced(&[largest, Decimal::ONE]), too_large);
        assert_eq!(reduced(&[Decimal::MAX, Decimal::MAX]), too_large, "past every number");
    }

    #[test]
    fn a_day_without_usage_has_no_lines() {
        assert!(quantities(&[], &policies()).is_empty());
        assert!(quantities(&[hourly(2, 0, 0)], &policies()).is_empty());
    }

    proptest! {
        /// Order, and how an hour's usage is divided, change nothing.
        #[test]
        fn order_and_batching_change_nothing(
            parts in proptest::collection::vec((0_usize..7, 0_i16..24, 0_i64..1_000_000), 0..60),
            seed in any::<usize>(),
        ) {
            let ids = [1, 2, 7, 8, 10, 11, 14];
            let mut usage: Vec<_> = parts.iter().map(|&(m, hour, quantity)| hourly(ids[m], hour, quantity)).collect();
            let straight = quantities(&usage, &policies());
            let length = usage.len().max(1);
            for index in 0..usage.len() {
                usage.swap(index, (seed ^ index.wrapping_mul(0x9e37_79b9)) % length);
            }
            prop_assert_eq!(&quantities(&usage, &policies()), &straight);
            let mut folded: BTreeMap<(i16, i16), HourlyUsage> = BTreeMap::new();
            for part in usage {
                folded
                    .entry((part.meter_id, part.hour))
                    .and_modify(|whole| {
                        whole.sum += part.sum;
                        whole.max = whole.max.max(part.max);
                    })
                    .or_insert(part);
            }
            let folded: Vec<_> = folded.into_values().collect();
            prop_assert_eq!(quantities(&folded, &policies()), straight);
        }
    }
}
