//! What is reported: an amount of something that a workspace has used, under an id that is counted once.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use prost_types::Timestamp;
use tallystick_proto::workspace::v1::UsageRecord;
use time::{Duration, OffsetDateTime};
use uuid::{ContextV7, Uuid};

use crate::clock::now;
use crate::config::limits;

/// Counts within a millisecond, so that ids of one process sort in the order they were made.
static CONTEXT: Mutex<AssertUnwindSafe<ContextV7>> = Mutex::new(AssertUnwindSafe(ContextV7::new()));

/// The id of a record. Of one workspace and billing day it is counted once, however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// A new one (a UUIDv7), greater than every one that this process has made before.
    pub fn new() -> Self {
        let now = now();
        let seconds = now.unix_timestamp().max(0).unsigned_abs();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(&CONTEXT, seconds, now.nanosecond())))
    }

    /// The id that always follows from another system's id: a UUIDv5 of the id, in the namespace that is the UUIDv5 of the source in
    /// the URL namespace. Whoever records the same thing again gets the same id.
    pub fn of_foreign(source: &str, id: &str) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, source.as_bytes());
        Self(Uuid::new_v5(&namespace, id.as_bytes()))
    }

    /// A UUID as it is usually written, in 36 characters. The nil UUID is no id.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = if text.len() == 36 { text.parse::<Uuid>().ok() } else { None };
        uuid.filter(|uuid| !uuid.is_nil()).map(Self)
    }

    /// The id as a UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// An amount of something that a workspace has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Who has used it: "wksp_" and a UUID.
    pub workspace_id: String,
    /// What was measured: 1 to 64 of lower-case letters, digits, "_", "-". `UsageService/ListMeters` lists the meters.
    pub meter: String,
    /// For logs the index, for forwarding the rule, else empty: at most 64 of the same characters.
    pub dimension: String,
    /// How much, in the meter's own unit: below 10^18.
    pub quantity: u64,
    /// When it happened, kept to the microsecond. The service takes what is at most 35 days old and 5 minutes ahead.
    pub event_time: OffsetDateTime,
    /// Of a meter reduced by maximum, on the day on which its workspace was upgraded, from the upgrade on: from when the quantity counts. The service
    /// refuses such a record without it, and does not look at it in others.
    pub count_from_time: Option<OffsetDateTime>,
}

/// Usage that can never be counted: it is not taken into the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidUsage {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Usage with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub event_id: EventId,
    /// What was used.
    pub usage: Usage,
}

impl Record {
    /// Checks what can be checked here, and cuts the time to microseconds, which is what the service keeps.
    pub fn new(event_id: EventId, usage: Usage) -> Result<Self, InvalidUsage> {
        let wrong = |field, problem| Err(InvalidUsage { field, problem });
        let workspace = usage.workspace_id.strip_prefix("wksp_").and_then(EventId::parse);
        if workspace.is_none() {
            return wrong("workspace_id", "must be \"wksp_\" followed by a UUID");
        }
        if !is_word(&usage.meter) || usage.meter.is_empty() {
            return wrong("meter", "must be 1 to 64 of lower-case letters, digits, \"_\", \"-\"");
        }
        if !is_word(&usage.dimension) {
            return wrong("dimension", "must be at most 64 of lower-case letters, digits, \"_\", \"-\"");
        }
        if usage.quantity > limits::QUANTITY_MAX {
            return wrong("quantity", "must be below 10^18");
        }
        let event_time = to_micros("event_time", usage.event_time)?;
        let count_from_time =
            usage.count_from_time.map(|time| to_micros("count_from_time", time)).transpose()?;
        Ok(Self { event_id, usage: Usage { event_time, count_from_time, ..usage } })
    }

    /// As it is sent.
    pub fn to_wire(&self) -> UsageRecord {
        UsageRecord {
            workspace_id: self.usage.workspace_id.clone(),
            event_id: self.event_id.to_string(),
            event_time: Some(timestamp(self.usage.event_time)),
            meter: self.usage.meter.clone(),
            dimension: self.usage.dimension.clone(),
            quantity: self.usage.quantity.to_string(),
            count_from_time: self.usage.count_from_time.map(timestamp),
        }
    }
}

fn to_micros(field: &'static str, time: OffsetDateTime) -> Result<OffsetDateTime, InvalidUsage> {
    let utc = time.to_offset(time::UtcOffset::UTC);
    if !(1970..3000).contains(&utc.year()) {
        return Err(InvalidUsage { field, problem: "must be from 1970 to 2999" });
    }
    Ok(utc - Duration::nanoseconds(i64::from(utc.nanosecond() % 1_000)))
}

fn is_word(value: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    value.len() <= limits::WORD_LENGTH_MAX && value.bytes().all(allowed)
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Below 10^9 by definition.
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default();
    Timestamp { seconds: time.unix_timestamp(), nanos }
}

#[cfg(test)]
pub(crate) mod tests {
    use time::macros::datetime;

    use super::*;

    pub(crate) fn usage(quantity: u64) -> Usage {
        Usage {
            workspace_id: "wksp_01900000-0000-7000-8000-000000000001".to_owned(),
            meter: "pv".to_owned(),
            dimension: String::new(),
            quantity,
            event_time: datetime!(2026-11-24 03:04:05.678901234 UTC),
            count_from_time: None,
        }
    }

    #[test]
    fn a_foreign_id_always_becomes_the_same_and_depends_on_its_source() {
        let id = EventId::of_foreign("urn:meter:7", "reading-1");
        assert_eq!(id, EventId::of_foreign("urn:meter:7", "reading-1"));
        assert_ne!(id, EventId::of_foreign("urn:meter:", "7reading-1"));
        // uuid5(uuid5(NAMESPACE_URL, source), id) in any language.
        assert_eq!(id.to_string(), "cb74fe7a-6296-5239-8514-f5a2e0fc582f");
    }

    #[test]
    fn new_ids_sort_in_the_order_they_were_made() {
        let ids: Vec<_> = (0..1_000).map(|_| EventId::new()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.uuid().get_version_num() == 7));
    }

    #[test]
    fn only_a_uuid_in_its_usual_form_is_an_event_id() {
        assert!(EventId::parse("01900000-0000-7000-8000-000000000001").is_some());
        assert!(EventId::parse("00000000-0000-0000-0000-000000000000").is_none());
        assert!(EventId::parse("01900000000070008000000000000001").is_none());
        assert!(EventId::parse("").is_none());
    }

    #[test]
    fn what_can_never_be_counted_is_named_by_its_field() {
        let field = |change: fn(&mut Usage)| {
            let mut wrong = usage(1);
            change(&mut wrong);
            Record::new(EventId::new(), wrong).unwrap_err().field
        };
        assert_eq!(field(|u| u.workspace_id = "wksp_1".into()), "workspace_id");
        assert_eq!(field(|u| u.meter = String::new()), "meter");
        assert_eq!(field(|u| u.meter = "p v".into()), "meter");
        assert_eq!(field(|u| u.dimension = "x".repeat(65)), "dimension");
        assert_eq!(field(|u| u.quantity = 1_000_000_000_000_000_000), "quantity");
        const EARLY: OffsetDateTime = datetime!(1969-12-31 23:59 UTC);
        assert_eq!(field(|u| u.event_time = EARLY), "event_time");
        assert_eq!(field(|u| u.count_from_time = Some(EARLY)), "count_from_time");
    }

    #[test]
    fn times_are_cut_to_microseconds_once() {
        let mut usage = usage(1);
        usage.count_from_time = Some(usage.event_time - Duration::HOUR);
        let wire = Record::new(EventId::new(), usage).unwrap().to_wire();
        let (time, from) = (wire.event_time.unwrap(), wire.count_from_time.unwrap());
        assert_eq!((time.nanos, from.nanos), (678_901_000, 678_901_000));
        assert_eq!(time.seconds - from.seconds, 3_600);
    }
}
