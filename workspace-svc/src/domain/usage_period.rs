//! Usage by hour, day or month, from the hours of days that are open and the lines of days that are sealed.

use std::collections::BTreeMap;

use chassis::civil::UsageDate;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use super::daily_usage::DailyLine;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// An hour.
    Hour,
    /// A billing day.
    Day,
    /// What is asked of a calendar month.
    Month,
}

impl Granularity {
    /// How many days can be asked for at once.
    pub fn days_max(self) -> i64 {
        match self {
            Self::Hour => 31,
            Self::Day | Self::Month => 400,
        }
    }

    /// The period that an hour of a day is in, of the days from first to last.
    pub fn period(
        self,
        day: UsageDate,
        hour: i16,
        (first, last): (UsageDate, UsageDate),
    ) -> (OffsetDateTime, OffsetDateTime) {
        match self {
            Self::Hour => {
                let start = day.start() + Duration::hours(i64::from(hour));
                (start, start + Duration::HOUR)
            }
            Self::Day => (day.start(), day.end()),
            Self::Month => {
                let date = day.date();
                let to_first = i64::from(date.day()) - 1;
                let length = i64::from(date.month().length(date.year()));
                let month = day.plus_days(-to_first);
                (month.max(first).start(), month.plus_days(length - 1).min(last).end())
            }
        }
    }
}

fn first_of_month(day: UsageDate) -> UsageDate {
    day.plus_days(1 - i64::from(day.date().day()))
}

/// The calendar months that are whole among the days from first to last: from their first day to the one after their last. Without any, no day.
pub fn whole_months((first, last): (UsageDate, UsageDate)) -> (UsageDate, UsageDate) {
    let from = match first_of_month(first) {
        month if month == first => first,
        month => first_of_month(month.plus_days(31)),
    };
    let until = first_of_month(last.next());
    if from < until { (from, until) } else { (first, first) }
}

/// What was used in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedPeriod {
    /// Its first moment.
    pub start: OffsetDateTime,
    /// The moment after its last.
    pub end: OffsetDateTime,
    /// One line per item, dimension and retention.
    pub lines: Vec<DailyLine>,
}

/// Sums of lines, by item, dimension and retention.
#[derive(Debug, Default)]
pub struct Sums(BTreeMap<(String, String, i32), Decimal>);

impl Sums {
    /// Adds a line. None: past every number that there is.
    pub fn add(&mut self, line: &DailyLine) -> Option<()> {
        let key = (line.item.clone(), line.dimension.clone(), line.retention_days);
        let sum = self.0.entry(key).or_default();
        *sum = sum.checked_add(line.quantity)?;
        Some(())
    }

    /// As lines, in order.
    pub fn into_lines(self) -> Vec<DailyLine> {
        let line = |((item, dimension, retention_days), quantity): (_, Decimal)| DailyLine {
            item,
            dimension,
            retention_days,
            quantity: quantity.normalize(),
        };
        self.0.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn day(text: &str) -> UsageDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_what_is_asked_of_it_also_in_a_leap_year() {
        let asked = (day("2028-01-15"), day("2028-02-29"));
        let january = Granularity::Month.period(day("2028-01-20"), 0, asked);
        assert_eq!(january, (datetime!(2028-01-15 00:00 +8), datetime!(2028-02-01 00:00 +8)));
        let february = Granularity::Month.period(day("2028-02-29"), 0, asked);
        assert_eq!(february, (datetime!(2028-02-01 00:00 +8), datetime!(2028-03-01 00:00 +8)));
        let december =
            Granularity::Month.period(day("2026-12-31"), 0, (day("2026-12-01"), day("2027-01-02")));
        assert_eq!(december.1, datetime!(2027-01-01 00:00 +8));
    }

    #[test]
    fn months_are_whole_from_their_first_to_their_last_day() {
        let whole = |first, last| whole_months((day(first), day(last)));
        assert_eq!(whole("2028-01-01", "2028-02-29"), (day("2028-01-01"), day("2028-03-01")));
        assert_eq!(whole("2028-01-02", "2028-02-29"), (day("2028-02-01"), day("2028-03-01")));
        assert_eq!(whole("2028-01-31", "2028-03-30"), (day("2028-02-01"), day("2028-03-01")));
        assert_eq!(whole("2026-12-01", "2026-12-31"), (day("2026-12-01"), day("2027-01-01")));
        for (first, last) in [
            ("2028-02-01", "2028-02-28"),
            ("2028-01-02", "2028-02-28"),
            ("2026-11-30", "2026-11-30"),
            ("2026-11-02", "2026-12-30"),
        ] {
            assert_eq!(whole(first, last), (day(first), day(first)), "{first} to {last}");
        }
    }

    #[test]
    fn an_hour_begins_at_its_hour_of_the_billing_day() {
        let asked = (day("2026-11-24"), day("2026-11-24"));
        let last = Granularity::Hour.period(day("2026-11-24"), 23, asked);
        assert_eq!(last, (datetime!(2026-11-24 15:00 UTC), datetime!(2026-11-24 16:00 UTC)));
    }

    #[test]
    fn sums_refuse_what_no_number_holds() {
        let line = |quantity| DailyLine {
            item: "log".to_owned(),
            dimension: String::new(),
            retention_days: 7,
            quantity,
        };
        let mut sums = Sums::default();
        assert!(sums.add(&line(Decimal::ONE)).is_some());
        assert!(sums.add(&line(Decimal::TWO)).is_some());
        assert_eq!(sums.into_lines(), [line(Decimal::from(3))]);
        let mut sums = Sums::default();
        assert!(sums.add(&line(Decimal::MAX)).is_some());
        assert!(sums.add(&line(Decimal::MAX)).is_none());
    }
}
