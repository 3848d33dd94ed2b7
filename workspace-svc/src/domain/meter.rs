//! Meters: what can be reported, and what it becomes. They are rows of a table, not code.

use chassis::civil::UsageDate;

use super::retention::DataType;
use super::usage_record::QUANTITY_MAX;

/// How the 24 hours of a day become one number (MT-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum of the hours.
    Sum,
    /// The largest of the hours, each of which counts from 00:00.
    Max,
}

/// What is counted of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// The reported quantity.
    Quantity,
    /// The distinct keys of a day.
    DistinctDay,
    /// The distinct keys of each hour.
    DistinctHour,
}

/// How a part of a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Not at all.
    Down,
    /// As a whole one.
    Up,
}

/// A quantity that counts once per so much of it (IT-LOG-2, IT-PF-1, IT-SR-2, IT-TG-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// So much counts nothing.
    pub free: i64,
    /// Beyond it each of so much counts once.
    pub step: i64,
    /// What becomes of a part.
    pub rounding: Rounding,
    /// It counts so often at least.
    pub minimum: i64,
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
    /// What is counted.
    pub counting: Counting,
    /// The meter that it is summed with, and whose quota it shares: itself, or the one that it is another way to report.
    pub measure_id: i16,
    /// What one of it counts for.
    pub weight: i64,
    /// None: a quantity counts as it is.
    pub steps: Option<Steps>,
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

impl Meter {
    /// What a reported quantity counts for; None when that is past every limit.
    pub fn count(&self, quantity: i64) -> Option<i64> {
        let steps = match self.steps {
            None => quantity,
            Some(Steps { free, step, rounding, minimum }) => {
                let beyond = quantity.saturating_sub(free).max(0);
                let whole = beyond.checked_div(step)?;
                let part = rounding == Rounding::Up && beyond.checked_rem(step)? > 0;
                whole.checked_add(i64::from(part))?.max(minimum)
            }
        };
        steps.checked_mul(self.weight).filter(|counted| *counted <= QUANTITY_MAX)
    }

    /// Whether an hour of it can be reported as one number: what is split or weighed piece by piece, or counted by keys, cannot.
    pub fn takes_points(&self) -> bool {
        self.counting == Counting::Quantity && self.measure_id == self.meter_id
    }
}

impl Counting {
    /// As it stands in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "QUANTITY" => Some(Self::Quantity),
            "DISTINCT_DAY" => Some(Self::DistinctDay),
            "DISTINCT_HOUR" => Some(Self::DistinctHour),
            _ => None,
        }
    }
}

impl Rounding {
    /// As it stands in the database.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "DOWN" => Some(Self::Down),
            "UP" => Some(Self::Up),
            _ => None,
        }
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

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A plain meter without a dimension.
    pub fn plain(meter_id: i16, item: &str) -> Meter {
        Meter {
            meter_id,
            meter: item.to_owned(),
            item: item.to_owned(),
            reduction: Reduction::Sum,
            divisor: 1,
            counting: Counting::Quantity,
            measure_id: meter_id,
            weight: 1,
            steps: None,
            data_type: None,
            dimension_kind: DimensionKind::None,
            effective_from: "2022-06-06".parse().unwrap(),
            effective_until: None,
            trial_quota: None,
        }
    }

    fn stepped(free: i64, step: i64, rounding: Rounding, minimum: i64) -> impl Fn(i64) -> Option<i64> {
        let steps = Some(Steps { free, step, rounding, minimum });
        let meter = Meter { steps, ..plain(1, "log") };
        move |quantity| meter.count(quantity)
    }

    #[test]
    fn an_oversized_record_counts_as_its_whole_pieces_and_at_least_once() {
        let log = stepped(0, 10_240, Rounding::Down, 1);
        let counts = [0, 1, 10_240, 10_241, 20_479, 20_480, 102_400].map(|size| log(size).unwrap());
        assert_eq!(counts, [1, 1, 1, 1, 1, 2, 10]);
        assert_eq!(
            [2_048, 2_049, 4_096].map(|size| stepped(0, 2_048, Rounding::Down, 1)(size)),
            [Some(1), Some(1), Some(2)]
        );
        assert_eq!(
            [307_200, 614_399, 614_400].map(|size| stepped(0, 307_200, Rounding::Down, 1)(size)),
            [Some(1), Some(1), Some(2)]
        );
        assert_eq!(
            [14_400, 28_799, 28_800].map(|size| stepped(0, 14_400, Rounding::Down, 1)(size)),
            [Some(1), Some(1), Some(2)]
        );
    }

    #[test]
    fn each_started_15_minutes_beyond_15_is_one_call() {
        let interval = stepped(900, 900, Rounding::Up, 0);
        let counts = [0, 60, 900, 901, 1_800, 1_801, 3_600].map(|seconds| interval(seconds).unwrap());
        assert_eq!(counts, [0, 0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn a_weight_multiplies_and_passes_no_limit() {
        let meter = Meter { weight: 100, ..plain(1, "trigger") };
        assert_eq!(meter.count(3), Some(300));
        assert_eq!(meter.count(QUANTITY_MAX / 100), Some(QUANTITY_MAX / 100 * 100));
        assert_eq!(meter.count(QUANTITY_MAX), None);
        assert_eq!(meter.count(i64::MAX), None);
    }
}
