//! How long data is kept, and from when on a change holds (WS-11, WS-13, DEC-16).

use chassis::civil::{UsageDate, next_full_hour};
use time::OffsetDateTime;

/// A kind of data with a retention of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// Metrics.
    Metrics,
    /// Logs, each index on its own.
    Logs,
    /// Data forwarded to our own storage.
    Forwarding,
    /// Events.
    Events,
    /// APM traces.
    ApmTrace,
    /// APM profiles.
    ApmProfile,
    /// RUM; session replay follows it.
    Rum,
    /// Security checks.
    SecurityCheck,
}

impl DataType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Metrics,
        Self::Logs,
        Self::Forwarding,
        Self::Events,
        Self::ApmTrace,
        Self::ApmProfile,
        Self::Rum,
        Self::SecurityCheck,
    ];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
            Self::Forwarding => "FORWARDING",
            Self::Events => "EVENTS",
            Self::ApmTrace => "APM_TRACE",
            Self::ApmProfile => "APM_PROFILE",
            Self::Rum => "RUM",
            Self::SecurityCheck => "SECURITY_CHECK",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|data_type| data_type.word() == word)
    }

    /// The numbers of days that are offered. A retention that has no price is not (DEC-15, CF-13).
    pub fn offered_days(self) -> &'static [i32] {
        match self {
            Self::Metrics => &[3, 7, 14, 30, 180, 360],
            Self::Forwarding => &[180, 360, 720],
            Self::Events => &[14, 30, 60],
            Self::ApmProfile => &[3, 7, 14],
            Self::Logs | Self::ApmTrace | Self::Rum | Self::SecurityCheck => &[3, 7, 14, 30, 60],
        }
    }

    /// What a workspace begins with.
    pub fn default_days(self) -> i32 {
        match self {
            Self::Metrics => 7,
            Self::Forwarding => 180,
            Self::Logs
            | Self::Events
            | Self::ApmTrace
            | Self::ApmProfile
            | Self::Rum
            | Self::SecurityCheck => 14,
        }
    }
}

/// So many days, from an hour on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Of what.
    pub data_type: DataType,
    /// Of which log index; empty for the default one, and for everything else.
    pub dimension: String,
    /// How long.
    pub days: i32,
    /// From when on.
    pub effective_from: OffsetDateTime,
    /// When its owner asked for it; None for what the workspace began with.
    pub changed_at: Option<OffsetDateTime>,
}

/// The first change of a billing day holds from the next full hour; a later one from the next 00:00 (WS-13).
pub fn change_effective_from(now: OffsetDateTime, earlier: &[RetentionPolicy]) -> OffsetDateTime {
    let today = UsageDate::of(now);
    let changed_today =
        earlier.iter().filter_map(|policy| policy.changed_at).any(|at| UsageDate::of(at) == today);
    if changed_today { today.end() } else { next_full_hour(now) }
}

/// The days that hold for an hour: of the dimension's own policy if it has one by then, else of the default one.
pub fn days_in_force(
    policies: &[RetentionPolicy],
    data_type: DataType,
    dimension: &str,
    hour: OffsetDateTime,
) -> Option<i32> {
    let newest = |wanted: &str| {
        let fits = |policy: &&RetentionPolicy| {
            policy.data_type == data_type && policy.dimension == wanted && policy.effective_from <= hour
        };
        policies.iter().filter(fits).max_by_key(|policy| policy.effective_from).map(|policy| policy.days)
    };
    newest(dimension).or_else(|| newest(""))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn policy(days: i32, from: OffsetDateTime, changed_at: Option<OffsetDateTime>) -> RetentionPolicy {
        let dimension = String::new();
        RetentionPolicy { data_type: DataType::ApmTrace, dimension, days, effective_from: from, changed_at }
    }

    #[test]
    fn the_first_change_of_a_day_holds_from_the_next_hour_and_a_later_one_from_the_next_day() {
        let begin = policy(14, datetime!(2026-11-01 00:00 UTC), None);
        let noon = datetime!(2026-11-24 12:00 +8);
        assert_eq!(change_effective_from(noon, std::slice::from_ref(&begin)), noon);
        let first = policy(7, noon, Some(noon));
        let three = datetime!(2026-11-24 15:20 +8);
        assert_eq!(change_effective_from(three, &[begin, first]), datetime!(2026-11-25 00:00 +8));
    }

    #[test]
    fn an_index_without_a_policy_of_its_own_follows_the_default_one() {
        let from = datetime!(2026-11-01 00:00 UTC);
        let log = |dimension: &str, days| RetentionPolicy {
            data_type: DataType::Logs,
            dimension: dimension.to_owned(),
            days,
            effective_from: from,
            changed_at: None,
        };
        let policies = [log("", 14), log("audit", 60)];
        assert_eq!(days_in_force(&policies, DataType::Logs, "audit", from), Some(60));
        assert_eq!(days_in_force(&policies, DataType::Logs, "other", from), Some(14));
    }

    #[test]
    fn defaults_are_offered() {
        for data_type in DataType::ALL {
            assert!(data_type.offered_days().contains(&data_type.default_days()), "{data_type:?}");
            assert_eq!(DataType::from_word(data_type.word()), Some(data_type));
        }
    }
}
