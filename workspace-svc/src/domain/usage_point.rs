//! Hourly points: of one place the highest revision counts, whatever the order of arrival (DEC-8).

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use time::OffsetDateTime;

use super::meter::Meter;
use super::retention::DataType;
use super::usage_record::UsageRefusal;

/// A well-formed point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePoint {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// What was measured.
    pub meter: String,
    /// The log index or forwarding rule.
    pub dimension: String,
    /// The policy that the data is under; 0 for the workspace's own at that hour.
    pub retention_days: i32,
    /// The hour that it covers.
    pub hour_time: OffsetDateTime,
    /// How much.
    pub quantity: i64,
    /// The producer's counter of corrections.
    pub revision: i64,
    /// From when a maximum counts, where that is asked.
    pub count_from: Option<OffsetDateTime>,
}

/// A policy that a point names must be one that its meter's data can be under: two points of an item with one price would else
/// stand in two places and count twice, and one of a policy without a price could never be billed.
pub fn check_point(retention_days: i32, meter: &Meter) -> Result<(), UsageRefusal> {
    if !meter.takes_points() {
        let problem = format!("{} is counted piece by piece: an hour of it is no point", meter.meter);
        return Err(UsageRefusal::Malformed { field: "meter", problem });
    }
    let offered = meter.data_type.map(DataType::offered_days).unwrap_or_default();
    if retention_days == 0 || offered.contains(&retention_days) {
        return Ok(());
    }
    let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
    let problem = format!("must be 0 or one of [{}] for the meter {}", offered.join(" "), meter.meter);
    Err(UsageRefusal::Malformed { field: "retention_days", problem })
}

/// Where a point stands: at most one quantity of each holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// On which day.
    pub usage_date: UsageDate,
    /// Of which meter.
    pub meter_id: i16,
    /// Of which index or rule.
    pub dimension: String,
    /// Under which policy.
    pub retention_days: i32,
    /// In which hour, 0 to 23.
    pub hour: i16,
}

/// A quantity and its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How much.
    pub quantity: i64,
    /// The higher one holds.
    pub revision: i64,
}

/// What comes of a reading where another is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds now.
    Accepted,
    /// It is known, or older than what is known.
    Superseded,
    /// The same revision has another quantity.
    Refused,
}

/// Judges a reading by what is known of its place.
pub fn judge(known: Option<Reading>, reading: Reading) -> Verdict {
    match known {
        None => Verdict::Accepted,
        Some(known) if reading.revision > known.revision => Verdict::Accepted,
        Some(known) if reading.revision < known.revision => Verdict::Superseded,
        Some(known) if reading.quantity == known.quantity => Verdict::Superseded,
        Some(_) => Verdict::Refused,
    }
}

/// Judges a batch, one after the other, by what is known before it. Returns the verdicts, and what holds then where it changed.
pub fn judge_batch(
    known: &HashMap<Place, Reading>,
    batch: &[(Place, Reading)],
) -> (Vec<Result<Verdict, UsageRefusal>>, HashMap<Place, Reading>) {
    let mut changed: HashMap<Place, Reading> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (place, reading) in batch {
        let before = changed.get(place).or_else(|| known.get(place)).copied();
        let verdict = judge(before, *reading);
        if verdict == Verdict::Accepted {
            changed.insert(place.clone(), *reading);
        }
        verdicts.push(if verdict == Verdict::Refused {
            Err(UsageRefusal::RevisionReused)
        } else {
            Ok(verdict)
        });
    }
    (verdicts, changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_revision_holds_and_an_equal_one_must_agree() {
        let known = Some(Reading { quantity: 5, revision: 2 });
        assert_eq!(judge(known, Reading { quantity: 1, revision: 3 }), Verdict::Accepted);
        assert_eq!(judge(known, Reading { quantity: 9, revision: 1 }), Verdict::Superseded);
        assert_eq!(judge(known, Reading { quantity: 5, revision: 2 }), Verdict::Superseded);
        assert_eq!(judge(known, Reading { quantity: 6, revision: 2 }), Verdict::Refused);
        assert_eq!(judge(None, Reading { quantity: 0, revision: 0 }), Verdict::Accepted);
    }
}
