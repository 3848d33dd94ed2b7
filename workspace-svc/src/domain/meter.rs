//! Meters: what can be reported, and what it becomes. They are rows of a table, not code.

use chassis::civil::UsageDate;

use super::retention::DataType;

/// How the 24 hours of a day become one number (MT-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum of the hours.
    Sum,
    /// The largest of the hours, each of which counts from 00:00.
    Max,
}

/// What a dimension is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DimensionKind {
    /// There is none.
    None,
    /// A log index (IT-LOG-3).
    LogIndex,
    /// A forwarding rule (IT-DF-1).
    ForwardingRule,
}

/// A meter, valid over a range of billing days (DEC-18).
#[derive(Debug, Clone)]
pub struct Meter {
    /// Its number in the database.
    pub meter_id: i16,
    /// Its word in records and points.
    pub meter: String,
    /// The billing item that it feeds.
    pub item: String,
    /// How its day is reduced.
    pub reduction: Reduction,
    /// What the reduced value is divided by: 1, 10 or 100.
    pub divisor: i64,
    /// Whose retention sets the price; None for an item with one price.
    pub data_type: Option<DataType>,
    /// What its dimension is.
    pub dimension_kind: DimensionKind,
    /// The first day.
    pub effective_from: UsageDate,
    /// The day after the last.
    pub effective_until: Option<UsageDate>,
    /// What a trial has of it, in its own units; 0: nothing; None: no limit.
    pub trial_quota: Option<i64>,
}

/// All meters of all days.
#[derive(Debug, Clone, Default)]
pub struct Meters(pub Vec<Meter>);

impl Meters {
    /// The meter of this word on a day.
    pub fn find(&self, word: &str, day: UsageDate) -> Option<&Meter> {
        let valid = |meter: &&Meter| {
            meter.meter == word
                && meter.effective_from <= day
                && meter.effective_until.is_none_or(|until| day < until)
        };
        self.0.iter().find(valid)
    }

    /// The meter of this number.
    pub fn get(&self, meter_id: i16) -> Option<&Meter> {
        self.0.iter().find(|meter| meter.meter_id == meter_id)
    }
}

impl DimensionKind {
    /// As it stands in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "NONE" => Some(Self::None),
            "LOG_INDEX" => Some(Self::LogIndex),
            "FORWARDING_RULE" => Some(Self::ForwardingRule),
            _ => None,
        }
    }
}

impl Reduction {
    /// As it stands in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "SUM" => Some(Self::Sum),
            "MAX" => Some(Self::Max),
            _ => None,
        }
    }
}
