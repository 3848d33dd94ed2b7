//! What a trial may use of a meter on a day (PLAN-3 to PLAN-6, DEC-14).

use std::collections::BTreeMap;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;

use super::meter::{Meter, Reduction};
use super::usage_record::UsageRefusal;

/// What is counted against a quota: a meter of a workspace on a day.
pub type Counter = (WorkspaceId, UsageDate, i16);

/// Judges one quantity of a trial's by itself. Answers the quota that its sum is held to; None when no sum is.
pub fn check(meter: &Meter, quantity: i64) -> Result<Option<i64>, UsageRefusal> {
    match meter.trial_quota {
        None => Ok(None),
        Some(0) => Err(UsageRefusal::NotInTrial { item: meter.item.clone() }),
        Some(quota) if quantity > quota => Err(used_up(&meter.meter, quota)),
        Some(quota) => Ok((meter.reduction == Reduction::Sum).then_some(quota)),
    }
}

/// The refusal of what does not fit any more.
pub fn used_up(meter: &str, quota: i64) -> UsageRefusal {
    UsageRefusal::TrialQuotaUsedUp { meter: meter.to_owned(), quota }
}

/// What is used of quotas, and what a batch adds to it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Before the batch.
    pub used: BTreeMap<Counter, i64>,
    /// By it.
    pub added: BTreeMap<Counter, i64>,
}

impl Counters {
    /// Takes from a quota, all or nothing; a negative quantity gives back. False: it does not fit, or its counter is not held.
    pub fn take(&mut self, counter: Counter, quantity: i64, quota: i64) -> bool {
        let Some(&used) = self.used.get(&counter) else { return false };
        let added = self.added.entry(counter).or_insert(0);
        let fits = quantity <= 0 || used.saturating_add(*added).saturating_add(quantity) <= quota;
        if fits {
            *added = added.saturating_add(quantity);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::meter::tests::plain;

    fn meter(trial_quota: Option<i64>, reduction: Reduction) -> Meter {
        Meter { trial_quota, reduction, ..plain(1, "trace") }
    }

    #[test]
    fn a_quantity_by_itself_is_judged_by_its_meter() {
        assert_eq!(check(&meter(None, Reduction::Sum), i64::MAX), Ok(None), "no limit");
        let refused = check(&meter(Some(0), Reduction::Sum), 1);
        assert_eq!(refused, Err(UsageRefusal::NotInTrial { item: "trace".into() }));
        assert_eq!(check(&meter(Some(8), Reduction::Sum), 8), Ok(Some(8)));
        assert_eq!(check(&meter(Some(8), Reduction::Sum), 9), Err(used_up("trace", 8)));
        assert_eq!(check(&meter(Some(8), Reduction::Max), 8), Ok(None), "a maximum needs no sum");
        assert_eq!(check(&meter(Some(8), Reduction::Max), 9), Err(used_up("trace", 8)));
    }

    #[test]
    fn nothing_is_taken_from_a_counter_that_is_not_held() {
        let day: UsageDate = "2026-11-26".parse().unwrap();
        let counter = (WorkspaceId::from_uuid(Uuid::from_u128(1)), day, 7);
        assert!(!Counters::default().take(counter, 1, 10));
    }

    proptest! {
        /// What is taken never passes the quota, and nothing is refused that would have fitted.
        #[test]
        fn what_passes_the_quota_is_refused(
            quota in 1_i64..1_000, before in 0_i64..1_000, takes in prop::collection::vec(0_i64..400, 0..20)
        ) {
            let before = before.min(quota);
            let day: UsageDate = "2026-11-26".parse().unwrap();
            let counter = (WorkspaceId::from_uuid(Uuid::from_u128(1)), day, 7);
            let mut counters = Counters { used: BTreeMap::from([(counter, before)]), added: BTreeMap::new() };
            let mut sum = before;
            for take in takes {
                let fits = sum + take <= quota;
                prop_assert_eq!(counters.take(counter, take, quota), fits);
                sum += if fits { take } else { 0 };
                prop_assert_eq!(before + counters.added[&counter], sum);
            }
        }
    }
}
