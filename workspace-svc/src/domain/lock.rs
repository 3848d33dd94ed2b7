//! Why a workspace is locked, and the countdown to the day on which it takes no usage any more.

use chassis::civil::next_full_hour;
use chassis::id::BillingAccountId;
use time::{Duration, OffsetDateTime};

/// How long a lock can be lifted before data is gone (WS-4).
pub const LOCK_COUNTDOWN: Duration = Duration::days(14);
/// On these days of the countdown the owner of the workspace is mailed (DEC-39).
pub const TELLING_DAYS: [i32; 4] = [0, 11, 13, 14];

/// Why a workspace is locked (WS-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockCause {
    /// Its payer is in arrears.
    Arrears,
    /// Its subscription has ended or is frozen.
    Subscription,
}

impl LockCause {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Arrears => "ARREARS",
            Self::Subscription => "SUBSCRIPTION",
        }
    }

    /// There are two.
    pub fn other(self) -> Self {
        match self {
            Self::Arrears => Self::Subscription,
            Self::Subscription => Self::Arrears,
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Arrears, Self::Subscription].into_iter().find(|cause| cause.word() == word)
    }
}

/// A lock and its countdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Why.
    pub cause: LockCause,
    /// When the countdown began.
    pub locked_at: OffsetDateTime,
    /// When it ends: a full hour.
    pub final_from: OffsetDateTime,
    /// The last day of it that the owner was mailed about.
    pub told_days: i32,
    /// Since when the other cause holds as well.
    pub other_since: Option<OffsetDateTime>,
    /// Whose arrears, where they are a cause and it is known.
    pub arrears_of: Option<BillingAccountId>,
}

impl Lock {
    /// One that begins at a moment.
    pub fn beginning(cause: LockCause, arrears_of: Option<BillingAccountId>, at: OffsetDateTime) -> Self {
        Self {
            cause,
            locked_at: at,
            final_from: next_full_hour(at + LOCK_COUNTDOWN),
            told_days: 0,
            other_since: None,
            arrears_of: arrears_of.filter(|_| cause == LockCause::Arrears),
        }
    }

    /// With a cause that holds from now on. One that holds already changes nothing but whose arrears they are; another is remembered, for the day on which
    /// the first is gone.
    #[must_use]
    pub fn joined(self, cause: LockCause, arrears_of: Option<BillingAccountId>, now: OffsetDateTime) -> Self {
        let arrears_of = match cause {
            LockCause::Arrears => arrears_of.or(self.arrears_of),
            LockCause::Subscription => self.arrears_of,
        };
        if cause == self.cause || self.other_since.is_some() {
            return Self { arrears_of, ..self };
        }
        Self { other_since: Some(now), arrears_of, ..self }
    }

    /// Without a cause, or, with None, without any. The countdown of a cause that is left runs from the moment from which it held; what its owner was told of
    /// already he is not told again.
    pub fn lifted(self, cause: Option<LockCause>, now: OffsetDateTime) -> Option<Self> {
        let cause = cause?;
        if cause == self.cause {
            let left = Self::beginning(cause.other(), self.arrears_of, self.other_since?);
            let told_days = left.reached(now).unwrap_or(0).min(self.told_days);
            return Some(Self { told_days, ..left });
        }
        let arrears_of = self.arrears_of.filter(|_| cause != LockCause::Arrears);
        Some(Self { other_since: None, arrears_of, ..self })
    }

    /// The last day of the countdown on which there is a mail that has come.
    fn reached(&self, now: OffsetDateTime) -> Option<i32> {
        let has_come = |days: &i32| match days {
            14 => now >= self.final_from,
            days => now >= self.locked_at + Duration::days(i64::from(*days)),
        };
        TELLING_DAYS.into_iter().rev().find(has_come)
    }

    /// Days until the countdown is over, to the nearest.
    pub fn days_left(&self, now: OffsetDateTime) -> i32 {
        i32::try_from((self.final_from - now + Duration::hours(12)).whole_days()).unwrap_or(0).max(0)
    }

    /// The day of the countdown that the owner is to be mailed about now, if it was not yet; of several that were missed the last.
    pub fn telling_due(&self, now: OffsetDateTime) -> Option<i32> {
        self.reached(now).filter(|days| *days > self.told_days)
    }
}

/// What a changed lock means for the closure that follows its countdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosureChange {
    /// What is open, or has not begun, ends here.
    pub end: Option<OffsetDateTime>,
    /// One begins here.
    pub begin: Option<OffsetDateTime>,
}

impl ClosureChange {
    /// Lifted during the countdown it leaves no gap; after it, usage is taken again from the next full hour.
    pub fn between(old: Option<Lock>, new: Option<Lock>, now: OffsetDateTime) -> Self {
        let end = old.map(|old| if now < old.final_from { now } else { next_full_hour(now) });
        let begin = new.map(|new| new.final_from);
        let same = old.map(|old| old.final_from) == begin;
        // What is closed, and would be closed again at once, stays so.
        let stays = old.is_some_and(|old| old.final_from <= now) && begin.is_some() && begin <= end;
        if same || stays { Self { end: None, begin: None } } else { Self { end, begin } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:30 UTC);

    #[test]
    fn the_owner_is_told_on_days_0_11_13_and_14_each_once() {
        let mut lock = Lock::beginning(LockCause::Arrears, None, NOW);
        assert_eq!(lock.telling_due(NOW), None, "day 0 is told with the lock");
        assert_eq!(lock.telling_due(NOW + Duration::days(11) - Duration::SECOND), None);
        assert_eq!(lock.telling_due(NOW + Duration::days(11)), Some(11));
        lock.told_days = 11;
        assert_eq!(lock.telling_due(NOW + Duration::days(12)), None);
        assert_eq!(lock.telling_due(NOW + Duration::days(13)), Some(13));
        assert_eq!(lock.telling_due(NOW + Duration::days(20)), Some(14), "what was missed is told once");
        lock.told_days = 14;
        assert_eq!(lock.telling_due(NOW + Duration::days(20)), None);
    }

    #[test]
    fn a_second_cause_is_remembered_and_counts_from_its_own_day() {
        let payer = Some(BillingAccountId::from_uuid(Uuid::from_u128(7)));
        let (first, second) = (NOW, NOW + Duration::days(3));
        let lock = Lock::beginning(LockCause::Subscription, payer, first);
        assert_eq!(lock.arrears_of, None, "a subscription is nobody's arrears");
        let both = lock.joined(LockCause::Arrears, payer, second);
        assert_eq!(
            (both.final_from, both.other_since, both.arrears_of),
            (lock.final_from, Some(second), payer)
        );
        assert_eq!(both.joined(LockCause::Arrears, payer, second + Duration::DAY), both, "once");
        let heir = Some(BillingAccountId::from_uuid(Uuid::from_u128(8)));
        assert_eq!(both.joined(LockCause::Arrears, heir, second).arrears_of, heir, "whose payment lifts it");
        assert_eq!(both.joined(LockCause::Subscription, heir, second), both);
        let left = both.lifted(Some(LockCause::Subscription), second).unwrap();
        assert_eq!(left, Lock::beginning(LockCause::Arrears, payer, second));
        assert_eq!(left.lifted(Some(LockCause::Subscription), second), Some(left), "it is gone already");
        assert_eq!(left.lifted(Some(LockCause::Arrears), second), None);
        assert_eq!(both.lifted(Some(LockCause::Arrears), second), Some(lock), "as it was");
        assert_eq!(both.lifted(None, second), None, "an operator lifts whatever there is");
    }

    #[test]
    fn the_owner_is_told_once_of_each_day_whichever_cause_is_left() {
        let mut lock =
            Lock::beginning(LockCause::Arrears, None, NOW).joined(LockCause::Subscription, None, NOW);
        lock.told_days = 11;
        let day_12 = NOW + Duration::days(12);
        assert_eq!(lock.lifted(Some(LockCause::Arrears), day_12).unwrap().telling_due(day_12), None);
        lock.told_days = 14;
        let day_20 = NOW + Duration::days(20);
        assert_eq!(lock.lifted(Some(LockCause::Arrears), day_20).unwrap().telling_due(day_20), None);
        let later = Lock { other_since: Some(day_12), ..lock };
        let left = later.lifted(Some(LockCause::Arrears), day_20).unwrap();
        assert_eq!((left.told_days, left.days_left(day_20)), (0, 6), "its own countdown is told in full");
    }

    #[test]
    fn what_is_closed_stays_closed_while_another_cause_holds_as_long() {
        let lock = Lock::beginning(LockCause::Arrears, None, NOW).joined(LockCause::Subscription, None, NOW);
        let late = NOW + Duration::days(20);
        let left = lock.lifted(Some(LockCause::Arrears), late);
        assert_eq!(ClosureChange::between(Some(lock), left, late), ClosureChange { end: None, begin: None });
        let later = Lock::beginning(LockCause::Arrears, None, NOW);
        let later = later.joined(LockCause::Subscription, None, NOW + Duration::days(10));
        let change = ClosureChange::between(Some(later), later.lifted(Some(LockCause::Arrears), late), late);
        let again = next_full_hour(NOW + Duration::days(24));
        assert_eq!(change, ClosureChange { end: Some(next_full_hour(late)), begin: Some(again) });
    }

    proptest! {
        /// Whatever comes and goes in whatever order: locked as long as a cause holds, and not a moment longer.
        #[test]
        fn a_workspace_is_locked_while_a_cause_holds(steps in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..40)) {
            let mut lock: Option<Lock> = None;
            let mut held: Vec<LockCause> = Vec::new();
            for (number, (comes, arrears)) in (0_i64..).zip(steps) {
                let now = NOW + Duration::hours(number);
                let cause = if arrears { LockCause::Arrears } else { LockCause::Subscription };
                if comes {
                    lock = Some(lock.map_or_else(|| Lock::beginning(cause, None, now), |lock| lock.joined(cause, None, now)));
                    if !held.contains(&cause) {
                        held.push(cause);
                    }
                } else {
                    lock = lock.and_then(|lock| lock.lifted(Some(cause), now));
                    held.retain(|other| *other != cause);
                }
                prop_assert_eq!(lock.map(|lock| lock.cause), held.first().copied());
                prop_assert_eq!(lock.is_some_and(|lock| lock.other_since.is_some()), held.len() == 2);
            }
        }
    }
}
