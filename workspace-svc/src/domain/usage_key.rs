//! Keys of what is counted distinct. What counts of a day follows from the set of keys and the hours in which each was seen, in whatever order they came.

use std::collections::BTreeMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::meter::Counting;

/// A well-formed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageKey {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// What is counted.
    pub meter: String,
    /// The log index or forwarding rule.
    pub dimension: String,
    /// When it was seen.
    pub event_time: OffsetDateTime,
    /// Which it is: the first 16 bytes of its SHA-256.
    pub key_hash: Uuid,
    /// How large it was then.
    pub size: i64,
}

/// The hash of a key.
pub fn hash(key: &str) -> Uuid {
    let digest = Sha256::digest(key.as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(place, byte)| *place = *byte);
    Uuid::from_bytes(bytes)
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPlace {
    /// Which key.
    pub key_hash: Uuid,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// On which day.
    pub usage_date: UsageDate,
}

/// What is known of a key on its day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// A bit for each hour in which it was seen in time.
    pub hours: i32,
    /// A bit for each hour in which it was seen after the close alone.
    pub late_hours: i32,
    /// What it counts for.
    pub counted: i64,
    /// By what came in time.
    pub in_time_counted: i64,
}

impl Seen {
    /// With one more sighting.
    #[must_use]
    pub fn with(self, hour: u8, counted: i64, is_late: bool) -> Self {
        let bit = 1_i32.checked_shl(u32::from(hour)).unwrap_or_default();
        let more = Self { counted: self.counted.max(counted), ..self };
        if !is_late {
            let hours = self.hours | bit;
            let late_hours = self.late_hours & !bit;
            return Self { hours, late_hours, in_time_counted: self.in_time_counted.max(counted), ..more };
        }
        let new = bit & !self.hours;
        Self { late_hours: self.late_hours | new, ..more }
    }

    /// What the hours gain by going from this to another: by hour, 24 for the whole day; and of it what came late.
    pub fn gains(self, then: Self, counting: Counting) -> BTreeMap<(i16, bool), i64> {
        let mut gains = BTreeMap::new();
        for hour in 0..24_u8 {
            let bit = 1_i32.checked_shl(u32::from(hour)).unwrap_or_default();
            let before = (self.hours | self.late_hours) & bit != 0;
            if !before && then.hours & bit != 0 {
                gains.insert((i16::from(hour), false), 1);
            }
            if !before && then.late_hours & bit != 0 {
                gains.insert((i16::from(hour), true), 1);
            }
        }
        if counting == Counting::DistinctDay {
            let in_time = then.in_time_counted - self.in_time_counted;
            let late = (then.counted - self.counted) - in_time;
            gains.extend(
                [((24, false), in_time), ((24, true), late)].into_iter().filter(|(_, gain)| *gain != 0),
            );
        }
        gains
    }
}

/// Keys of a meter and dimension that were seen in the same hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTogether {
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// In which hours.
    pub hours: i32,
    /// What they count for together.
    pub counted: Decimal,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the order and repetition, the same sightings in time leave the same, and gains add up to it.
        #[test]
        fn order_and_repetition_of_sightings_change_nothing(
            sightings in prop::collection::vec((0_u8..24, 1_i64..5), 1..30), seed in any::<usize>()
        ) {
            let seen = |order: &[(u8, i64)]| {
                let mut seen = Seen::default();
                let mut sums = BTreeMap::new();
                for (hour, counted) in order {
                    let then = seen.with(*hour, *counted, false);
                    for (place, gain) in seen.gains(then, Counting::DistinctDay) {
                        *sums.entry(place).or_insert(0) += gain;
                    }
                    seen = then;
                }
                (seen, sums)
            };
            let straight = seen(&sightings);
            let mut shuffled: Vec<_> = sightings.iter().chain(&sightings).copied().collect();
            let length = shuffled.len();
            (0..length).for_each(|index| shuffled.swap(index, (seed ^ index.wrapping_mul(0x9e37_79b9)) % length));
            prop_assert_eq!(&seen(&shuffled), &straight);
            let largest = sightings.iter().map(|(_, counted)| *counted).max().unwrap();
            prop_assert_eq!(straight.0.counted, largest);
            prop_assert_eq!(straight.1[&(24, false)], largest);
            prop_assert_eq!(straight.1.len(), usize::try_from(straight.0.hours.count_ones()).unwrap() + 1);
        }
    }

    #[test]
    fn what_is_seen_after_the_close_leaves_what_was_seen_in_time() {
        let in_time = Seen::default().with(3, 1, false);
        let late = in_time.with(3, 2, true).with(5, 1, true);
        assert_eq!((late.hours, late.late_hours), (1 << 3, 1 << 5));
        assert_eq!((late.in_time_counted, late.counted), (1, 2));
        let gains = in_time.gains(late, Counting::DistinctDay);
        assert_eq!(gains, BTreeMap::from([((5, true), 1), ((24, true), 1)]));
        assert_eq!(in_time.gains(late, Counting::DistinctHour), BTreeMap::from([((5, true), 1)]));
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        assert_eq!(hash("cpu|host=a"), hash("cpu|host=a"));
        assert_ne!(hash("cpu|host=a"), hash("cpu|host=b"));
    }
}
