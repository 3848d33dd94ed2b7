//! Shared values to and from their messages: one strict parser each. Every violation of a request is collected, then sent at
//! once.

use std::str::FromStr;

use rust_decimal::Decimal;
use tallystick_proto::common::v1 as common;
use tallystick_proto::google::r#type::Date as ProtoDate;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::Caller;
use crate::civil::UsageDate;
use crate::money::{Currency, Money, parse_decimal};

/// What is wrong with a request: field and problem, in the order of the fields.
#[derive(Debug, Default)]
pub struct Violations(Vec<(String, String)>);

impl Violations {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a problem.
    pub fn add(&mut self, field: impl Into<String>, problem: impl ToString) {
        self.0.push((field.into(), problem.to_string()));
    }

    /// Notes the problem of a parse that failed.
    pub fn check<T, E: ToString>(&mut self, field: impl Into<String>, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(field, problem.to_string());
                None
            }
        }
    }

    /// Parses a string field.
    pub fn parse<T: FromStr<Err: ToString>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.check(field, text.parse())
    }

    /// Parses a request id.
    pub fn request_id(&mut self, text: &str) -> Option<Uuid> {
        let parsed = if text.len() == 36 { text.parse::<Uuid>().ok() } else { None };
        self.check("request_id", parsed.filter(|id| !id.is_nil()).ok_or("must be a UUID"))
    }

    /// Parses a date that must be given.
    pub fn date(&mut self, field: &str, date: Option<&ProtoDate>) -> Option<UsageDate> {
        let parsed = match date {
            Some(date) => {
                UsageDate::from_ymd(date.year, date.month, date.day).map_err(|error| error.to_string())
            }
            None => Err("must be given".to_owned()),
        };
        self.check(field, parsed)
    }

    /// Parses a timestamp that must be given.
    pub fn time(&mut self, field: &str, time: Option<&prost_types::Timestamp>) -> Option<OffsetDateTime> {
        self.check(field, time.and_then(instant).ok_or("must be a valid time"))
    }

    /// Parses money that must be given.
    pub fn money(&mut self, field: &str, value: Option<&common::Money>) -> Option<Money> {
        let Some(value) = value else {
            self.add(field, "must be given");
            return None;
        };
        let currency =
            self.check::<Currency, _>(format!("{field}.currency_code"), value.currency_code.parse());
        let amount = self.check(format!("{field}.amount"), parse_decimal(&value.amount));
        let (currency, amount) = (currency?, amount?);
        self.check(format!("{field}.amount"), Money::new(amount, currency))
    }

    /// Parses money that must be positive.
    pub fn positive_money(
        &mut self,
        field: &str,
        value: Option<&common::Money>,
        max: Decimal,
    ) -> Option<Money> {
        let money = self.money(field, value)?;
        let fits = money.is_positive() && money.amount() <= max;
        self.check(
            format!("{field}.amount"),
            fits.then_some(money).ok_or(format!("must be from 0.01 to {max}.00")),
        )
    }

    /// Checks a name for people: 1 to `max` characters, none of them a control character, no blank at either end.
    pub fn text(&mut self, field: &str, value: &str, max: usize) -> Option<String> {
        let count = value.chars().count();
        let fits =
            (1..=max).contains(&count) && !value.chars().any(char::is_control) && value.trim() == value;
        let problem = format!("must be 1 to {max} characters, no control characters, no blank at either end");
        self.check(field, fits.then(|| value.to_owned()).ok_or(problem))
    }

    /// Checks a word for machines: up to `max` of lower-case letters, digits, "_" and "-".
    pub fn word(&mut self, field: &str, value: &str, min: usize, max: usize) -> Option<String> {
        let problem = format!("must be {min} to {max} of lower-case letters, digits, \"_\", \"-\"");
        self.check(field, is_word(value, min, max).then(|| value.to_owned()).ok_or(problem))
    }

    /// True while nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn list(&self) -> &[(String, String)] {
        &self.0
    }

    /// All of them, taken.
    pub fn into_list(self) -> Vec<(String, String)> {
        self.0
    }

    /// The value when nothing is wrong, else everything that is.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

/// Whether a word is `min` to `max` of lower-case letters, digits, "_" and "-".
pub fn is_word(value: &str, min: usize, max: usize) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (min..=max).contains(&value.len()) && value.bytes().all(allowed)
}

/// The instant of a timestamp, cut to microseconds, which is what the database keeps. None when out of range.
pub fn instant(time: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    let start = OffsetDateTime::from_unix_timestamp(time.seconds).ok()?;
    let micros = i64::from(time.nanos) / 1_000;
    let instant = start.checked_add(time::Duration::microseconds(micros))?;
    (1970..3000).contains(&instant.year()).then_some(instant)
}

/// The message of an instant.
pub fn timestamp(instant: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: instant.unix_timestamp(),
        nanos: i32::try_from(instant.nanosecond()).unwrap_or_default(),
    }
}

/// The message of a billing day.
pub fn date(day: UsageDate) -> ProtoDate {
    let date = day.date();
    ProtoDate { year: date.year(), month: i32::from(u8::from(date.month())), day: i32::from(date.day()) }
}

/// The message of money, at the currency's scale.
pub fn money(money: Money) -> common::Money {
    common::Money { currency_code: money.currency().code().to_owned(), amount: money.printed() }
}

/// Whom a call comes from. The authentication layer puts it there; without it the call never gets this far.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| crate::status::internal(&anyhow::anyhow!("a call without a caller came through")))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a digest of 64 hexadecimal digits.
pub fn digest(text: &str) -> Result<[u8; 32], &'static str> {
    let wrong = "must be 64 lower-case hexadecimal digits";
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(wrong);
    }
    let mut bytes = [0_u8; 32];
    for (place, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong)?;
        *place = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_collected_in_order() {
        let mut violations = Violations::new();
        violations.request_id("nonsense");
        violations
            .money("amount", Some(&common::Money { currency_code: "EUR".into(), amount: "NaN".into() }));
        violations.date("usage_date", None);
        let fields: Vec<_> = violations.list().iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["request_id", "amount.currency_code", "amount.amount", "usage_date"]);
    }

    #[test]
    fn a_digest_reads_back() {
        let bytes = [0xab_u8; 32];
        assert_eq!(digest(&hex(&bytes)), Ok(bytes));
        assert!(digest("AB").is_err());
    }

    #[test]
    fn times_outside_of_the_calendar_are_none() {
        assert!(instant(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }).is_none());
        assert!(instant(&prost_types::Timestamp { seconds: 0, nanos: -1 }).is_none());
        assert!(instant(&prost_types::Timestamp { seconds: -1, nanos: 0 }).is_none());
    }
}
