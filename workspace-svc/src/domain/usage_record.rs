//! A record: is it well-formed, of which day, and is it admitted?

use chassis::civil::{UsageDate, full_hour};
use chassis::id::WorkspaceId;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::closure::Intake;
use super::meter::{DimensionKind, Meter, Meters, Reduction};
use super::sellable::{Book, Sellables};

/// How far back usage is admitted. Keys are kept for 40 days, longer than this, so that every resend meets its key.
pub const HORIZON: Duration = Duration::days(35);
/// How far ahead of the clock.
pub const AHEAD: Duration = Duration::minutes(5);
/// Quantities stay below 10^18 (DEC-52).
pub const QUANTITY_MAX: i64 = 999_999_999_999_999_999;

/// A well-formed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Made by the producer.
    pub event_id: Uuid,
    /// When it happened.
    pub event_time: OffsetDateTime,
    /// What was measured.
    pub meter: String,
    /// The log index or forwarding rule.
    pub dimension: String,
    /// How much.
    pub quantity: i64,
    /// From when a maximum counts, where that is asked.
    pub count_from: Option<OffsetDateTime>,
}

/// Why a record or point is not counted. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageRefusal {
    /// A field breaks its constraint.
    Malformed {
        /// Which.
        field: &'static str,
        /// How.
        problem: String,
    },
    /// No such workspace.
    UnknownWorkspace,
    /// The workspace took no usage at that time.
    WorkspaceClosed,
    /// No such meter on that day.
    UnknownMeter,
    /// Past the horizon.
    TooOld,
    /// Ahead of the clock.
    TooFarAhead,
    /// The id was counted with another content.
    EventIdReused,
    /// The item is fed the other way on that day.
    SourceMode,
    /// It does not fit into what is left of the trial's quota.
    TrialQuotaUsedUp {
        /// Which meter.
        meter: String,
        /// What the trial has of it, in the meter's units.
        quota: i64,
    },
    /// The trial does not have the item.
    NotInTrial {
        /// Which.
        item: String,
    },
    /// The revision was reported with another quantity.
    RevisionReused,
    /// The book that prices it does not sell the item on its day.
    NotSold {
        /// Which item.
        item: String,
        /// Which book.
        book: Book,
    },
}

impl UsageRecord {
    /// The billing day, from the record's own time, so that a resend lands in the same place.
    pub fn usage_date(&self) -> UsageDate {
        UsageDate::of(self.event_time)
    }

    /// Eight bytes of the content, compared only when the id was seen before.
    pub fn fingerprint(&self) -> i64 {
        let micros = self.event_time.unix_timestamp() * 1_000_000 + i64::from(self.event_time.microsecond());
        let mut hasher = Sha256::new();
        hasher.update(itoa::Buffer::new().format(micros));
        for part in [&self.meter, &self.dimension, itoa::Buffer::new().format(self.quantity)] {
            hasher.update("|");
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let mut bytes = [0_u8; 8];
        bytes.iter_mut().zip(digest.iter()).for_each(|(place, byte)| *place = *byte);
        i64::from_be_bytes(bytes)
    }
}

/// Whether any usage of this time may be admitted.
pub fn is_in_horizon(time: OffsetDateTime, now: OffsetDateTime) -> bool {
    (now - HORIZON..=now + AHEAD).contains(&time)
}

/// Whether usage of this time, meter and dimension is admitted, in the order of precedence of the contract.
pub fn admit<'a>(
    time: OffsetDateTime,
    meter: &str,
    dimension: &str,
    intake: Option<&Intake>,
    meters: &'a Meters,
    now: OffsetDateTime,
) -> Result<&'a Meter, UsageRefusal> {
    let intake = intake.ok_or(UsageRefusal::UnknownWorkspace)?;
    if time < now - HORIZON {
        return Err(UsageRefusal::TooOld);
    }
    if time > now + AHEAD {
        return Err(UsageRefusal::TooFarAhead);
    }
    let is_before = time < intake.created_at && time < full_hour(intake.created_at);
    if is_before || intake.is_closed_at(time) {
        return Err(UsageRefusal::WorkspaceClosed);
    }
    let meter = meters.find(meter, UsageDate::of(time)).ok_or(UsageRefusal::UnknownMeter)?;
    if meter.dimension_kind == DimensionKind::None && !dimension.is_empty() {
        let problem = format!("must be empty for the meter {}", meter.meter);
        return Err(UsageRefusal::Malformed { field: "dimension", problem });
    }
    Ok(meter)
}

/// The book that is known not to sell it: usage of it is refused when it comes, unless it was counted before or counts nothing; billing would have no price
/// for it (DEC-19).
pub fn unsold_in(
    meter: &Meter,
    intake: Option<&Intake>,
    time: OffsetDateTime,
    sellables: &Sellables,
) -> Option<Book> {
    let book = intake?.book_at(time)?;
    sellables.is_unsold(book, &meter.item, UsageDate::of(time)).then_some(book)
}

/// A maximum counts from 00:00; on the day of an upgrade, from it on, it must count from the upgrade or later: what was used before is free (DEC-13).
pub fn check_count_from(
    meter: &Meter,
    intake: &Intake,
    time: OffsetDateTime,
    count_from: Option<OffsetDateTime>,
) -> Result<(), UsageRefusal> {
    let Some(upgraded) = intake.commercial_from else { return Ok(()) };
    let begins_inside = || UsageDate::of(time).start() < upgraded && upgraded <= time;
    let asked = meter.reduction == Reduction::Max && begins_inside();
    if !asked || count_from.is_some_and(|from| upgraded <= from && from <= time) {
        return Ok(());
    }
    let problem = format!(
        "must be from {upgraded}, when the workspace was upgraded, to {time}: what was used before is free"
    );
    Err(UsageRefusal::Malformed { field: "count_from_time", problem })
}

/// What a quantity counts for. Refused when that is past what can be counted (DEC-52).
pub fn counted(meter: &Meter, quantity: i64) -> Result<i64, UsageRefusal> {
    let problem = || format!("counts for more than {QUANTITY_MAX} of the item {}", meter.item);
    meter.count(quantity).ok_or_else(|| UsageRefusal::Malformed { field: "quantity", problem: problem() })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::closure::tests::taken;
    use crate::domain::meter::tests::plain;

    fn meters() -> Meters {
        let effective_from = "2024-06-26".parse().unwrap();
        Meters(vec![Meter { effective_from, ..plain(18, "pipeline") }])
    }

    #[test]
    fn the_horizon_is_35_days_to_the_microsecond() {
        let now = datetime!(2026-11-24 00:00 UTC);
        let created = taken(datetime!(2026-01-01 00:00 UTC));
        let at =
            |time| admit(time, "pipeline", "", Some(&created), &meters(), now).map(|meter| meter.meter_id);
        assert_eq!(at(now - HORIZON), Ok(18));
        assert_eq!(at(now - HORIZON - Duration::MICROSECOND), Err(UsageRefusal::TooOld));
        assert_eq!(at(now + AHEAD), Ok(18));
        assert_eq!(at(now + AHEAD + Duration::MICROSECOND), Err(UsageRefusal::TooFarAhead));
    }

    #[test]
    fn usage_from_before_the_workspace_or_the_meter_is_refused() {
        let now = datetime!(2024-06-27 00:00 UTC);
        let created = taken(datetime!(2024-06-24 10:30 UTC));
        let at =
            |time| admit(time, "pipeline", "", Some(&created), &meters(), now).map(|meter| meter.meter_id);
        assert_eq!(at(datetime!(2024-06-24 09:59 UTC)), Err(UsageRefusal::WorkspaceClosed));
        assert_eq!(
            at(datetime!(2024-06-25 15:59 UTC)),
            Err(UsageRefusal::UnknownMeter),
            "23:59 of the day before"
        );
        assert_eq!(at(datetime!(2024-06-25 16:00 UTC)), Ok(18));
        let refused = admit(now, "pipeline", "x", Some(&created), &meters(), now).map(|meter| meter.meter_id);
        assert!(matches!(refused, Err(UsageRefusal::Malformed { field: "dimension", .. })));
        assert_eq!(
            admit(now, "pipeline", "", None, &meters(), now).err(),
            Some(UsageRefusal::UnknownWorkspace)
        );
    }

    /// DEC-13: day counters begin anew at the hour of an upgrade.
    #[test]
    fn a_maximum_on_the_day_of_an_upgrade_says_from_when_it_counts() {
        let upgraded = datetime!(2026-11-24 10:00 +8);
        let workspace = Intake { commercial_from: Some(upgraded), ..taken(datetime!(2026-11-01 00:00 UTC)) };
        let hosts = Meter { reduction: Reduction::Max, ..plain(6, "network_host") };
        let at = |meter: &Meter, time, from| check_count_from(meter, &workspace, time, from).is_ok();
        let noon = datetime!(2026-11-24 12:00 +8);
        assert!(!at(&hosts, noon, None));
        assert!(!at(&hosts, noon, Some(upgraded - Duration::MICROSECOND)));
        assert!(!at(&hosts, noon, Some(noon + Duration::MICROSECOND)));
        assert!(at(&hosts, noon, Some(upgraded)));
        assert!(at(&hosts, upgraded - Duration::MICROSECOND, None), "before it is a trial's");
        assert!(at(&hosts, datetime!(2026-11-25 00:00 +8), None), "the next day counts from its 00:00");
        assert!(at(&plain(10, "pv"), noon, None), "a sum has its hours");
        let midnight = Intake { commercial_from: Some(datetime!(2026-11-24 00:00 +8)), ..workspace.clone() };
        assert!(check_count_from(&hosts, &midnight, noon, None).is_ok());
    }

    #[test]
    fn a_fingerprint_that_was_stored_is_found_again_for_ever() {
        let record = UsageRecord {
            workspace_id: "wksp_01900000-0000-7000-8000-000000000001".parse().unwrap(),
            event_id: Uuid::from_u128(7),
            event_time: datetime!(2026-11-30 12:34:56.789012 UTC),
            meter: "log".to_owned(),
            dimension: "default".to_owned(),
            quantity: 42,
            count_from: None,
        };
        // SHA-256 of "1796042096789012|log|default|42".
        assert_eq!(record.fingerprint().to_be_bytes(), [0x14, 0xd7, 0x1a, 0x09, 0xca, 0x27, 0x60, 0xf3]);
    }

    #[test]
    fn the_fingerprint_sees_every_field_of_the_content() {
        let record = UsageRecord {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(1)),
            event_id: Uuid::from_u128(2),
            event_time: datetime!(2026-11-24 00:00 UTC),
            meter: "log".into(),
            dimension: "audit".into(),
            quantity: 1,
            count_from: None,
        };
        let changes: [fn(&mut UsageRecord); 4] = [
            |r| r.event_time += Duration::MICROSECOND,
            |r| r.meter = "pv".into(),
            |r| r.dimension = String::new(),
            |r| r.quantity = 2,
        ];
        for change in changes {
            let mut other = record.clone();
            change(&mut other);
            assert_ne!(other.fingerprint(), record.fingerprint());
        }
    }
}
