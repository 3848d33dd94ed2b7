//! Billing days and full hours. A billing day is [00:00, 24:00) at +08:00 for every site (DEC-9): 24 hours, always.

use std::fmt;
use std::str::FromStr;

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// The zone of the billing day. One constant, never per request or per site.
pub const BILLING_OFFSET: UtcOffset = match UtcOffset::from_hms(8, 0, 0) {
    Ok(offset) => offset,
    Err(_) => UtcOffset::UTC,
};

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The offset in seconds.
const BILLING_SECONDS: i64 = 8 * 60 * 60;
/// The day of the Julian calendar on which Unix time begins.
const UNIX_JULIAN_DAY: i64 = 2_440_588;

/// A billing day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDate(Date);

/// A day that is none, or is outside of 2000-01-01 to 2999-12-31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a valid date from 2000-01-01 to 2999-12-31")]
pub struct InvalidDate;

impl UsageDate {
    /// The day of this year, month and day of month.
    pub fn from_ymd(year: i32, month: i32, day: i32) -> Result<Self, InvalidDate> {
        let month =
            u8::try_from(month).ok().and_then(|month| Month::try_from(month).ok()).ok_or(InvalidDate)?;
        let day = u8::try_from(day).map_err(|_| InvalidDate)?;
        Self::from_date(Date::from_calendar_date(year, month, day).map_err(|_| InvalidDate)?)
    }

    /// The same day, checked.
    pub fn from_date(date: Date) -> Result<Self, InvalidDate> {
        if (2000..3000).contains(&date.year()) { Ok(Self(date)) } else { Err(InvalidDate) }
    }

    /// The billing day that contains an instant.
    pub fn of(instant: OffsetDateTime) -> Self {
        let days = (instant.unix_timestamp() + BILLING_SECONDS).div_euclid(DAY_SECONDS);
        // Every instant has a day: those of the years -9999 to 9999 are fewer than an i32 counts.
        let julian = i32::try_from(days + UNIX_JULIAN_DAY).unwrap_or(i32::MAX);
        Self(Date::from_julian_day(julian).unwrap_or(Date::MAX))
    }

    /// As the time crate's date, for the database.
    pub fn date(self) -> Date {
        self.0
    }

    /// 00:00 of the day.
    pub fn start(self) -> OffsetDateTime {
        self.0.with_time(Time::MIDNIGHT).assume_offset(BILLING_OFFSET).to_offset(UtcOffset::UTC)
    }

    /// 24:00 of the day, exclusive.
    pub fn end(self) -> OffsetDateTime {
        self.start() + Duration::DAY
    }

    /// The day after.
    pub fn next(self) -> Self {
        self.plus_days(1)
    }

    /// The day so many days later (or earlier), kept within the calendar.
    pub fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(Duration::days(days)))
    }

    /// The hour of the day, 0 to 23, that contains an instant of the day.
    pub fn hour_of(instant: OffsetDateTime) -> u8 {
        let second = (instant.unix_timestamp() + BILLING_SECONDS).rem_euclid(DAY_SECONDS);
        u8::try_from(second / 3_600).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for UsageDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

impl FromStr for UsageDate {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<i32>().map_err(|_| InvalidDate));
        let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidDate);
        };
        let date = Self::from_ymd(year?, month?, day?)?;
        if date.to_string() == text { Ok(date) } else { Err(InvalidDate) }
    }
}

/// The full hour at or after an instant: what "takes effect at the next full hour" means (DEC-13, DEC-16).
pub fn next_full_hour(instant: OffsetDateTime) -> OffsetDateTime {
    let floor = full_hour(instant);
    if floor == instant { floor } else { floor + Duration::HOUR }
}

/// The full hour that contains an instant.
pub fn full_hour(instant: OffsetDateTime) -> OffsetDateTime {
    let within = Duration::minutes(i64::from(instant.minute()))
        + Duration::seconds(i64::from(instant.second()))
        + Duration::nanoseconds(i64::from(instant.nanosecond()));
    instant - within
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_billing_day_runs_from_midnight_to_midnight_at_plus_eight() {
        let day: UsageDate = "2028-02-29".parse().unwrap();
        assert_eq!(day.start(), datetime!(2028-02-28 16:00 UTC));
        assert_eq!(UsageDate::of(datetime!(2028-02-29 15:59:59.999 UTC)), day);
        assert_eq!(UsageDate::of(datetime!(2028-02-29 16:00 UTC)), day.next());
        assert_eq!(day.next().to_string(), "2028-03-01");
    }

    proptest::proptest! {
        /// Reckoned in seconds, day and hour are those of the calendar at +08:00.
        #[test]
        fn day_and_hour_are_those_of_the_calendar(second in -62_135_596_800_i64..253_402_000_000, nanos in 0_i64..1_000_000_000) {
            let instant = OffsetDateTime::from_unix_timestamp(second).unwrap() + Duration::nanoseconds(nanos);
            let there = instant.to_offset(BILLING_OFFSET);
            proptest::prop_assert_eq!(UsageDate::of(instant).date(), there.date());
            proptest::prop_assert_eq!(UsageDate::hour_of(instant), there.hour());
        }
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        for text in ["2026-02-29", "2026-13-01", "1999-12-31", "2026-1-1", "26-01-01", "", "2026-01-01x"] {
            assert!(text.parse::<UsageDate>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_next_full_hour_of_a_full_hour_is_itself() {
        let noon = datetime!(2026-11-24 12:00 UTC);
        assert_eq!(next_full_hour(noon), noon);
        assert_eq!(next_full_hour(noon + Duration::MICROSECOND), noon + Duration::HOUR);
    }
}
