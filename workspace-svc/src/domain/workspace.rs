//! The unit of metering and billing.

use chassis::civil::next_full_hour;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::site::Site;
use time::{Duration, OffsetDateTime};

use super::closure::{Cause, Closure};

/// How long a lock can be lifted before data is gone (WS-4).
pub const LOCK_COUNTDOWN: Duration = Duration::days(14);
/// How long a dissolved workspace can be restored (WS-9).
pub const STAGING: Duration = Duration::days(7);
/// On these days of the countdown its owner is mailed (DEC-39).
pub const TELLING_DAYS: [i32; 4] = [0, 11, 13, 14];

/// A workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Who owns it.
    pub owner: ConsoleAccountId,
    /// What it is called.
    pub name: String,
    /// Its site, for ever.
    pub site: Site,
    /// Of the mails about it.
    pub language: Language,
    /// From when on its usage is charged: a full hour. None while it is a trial.
    pub commercial_from: Option<OffsetDateTime>,
    /// Its lock, if it has one.
    pub lock: Option<Lock>,
    /// When its owner dissolved it.
    pub dissolved_at: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// The language of the mails about a workspace (REGI-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Simplified Chinese.
    Zh,
    /// English.
    En,
}

impl Language {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zh => "ZH",
            Self::En => "EN",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Zh, Self::En].into_iter().find(|language| language.word() == word)
    }
}

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
}

impl Lock {
    /// One that begins now.
    pub fn beginning(cause: LockCause, now: OffsetDateTime) -> Self {
        Self { cause, locked_at: now, final_from: next_full_hour(now + LOCK_COUNTDOWN), told_days: 0 }
    }

    /// The day of the countdown that the owner is to be mailed about now, if it was not yet; of several that were missed the last.
    pub fn telling_due(&self, now: OffsetDateTime) -> Option<i32> {
        let reached = |days: i32| match days {
            14 => now >= self.final_from,
            _ => now >= self.locked_at + Duration::days(i64::from(days)),
        };
        TELLING_DAYS.into_iter().rev().find(|days| reached(*days)).filter(|days| *days > self.told_days)
    }
}

/// Whether a workspace can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Open,
    /// The countdown runs.
    Locking,
    /// The countdown is over.
    Locked,
    /// It can be restored.
    Dissolving,
    /// It is gone.
    Dissolved,
    /// Nobody pays for it.
    Unbound,
}

impl Workspace {
    /// Its state. What is final wins over what is not.
    pub fn state(&self, closures: &[Closure], now: OffsetDateTime) -> State {
        if let Some(dissolved_at) = self.dissolved_at {
            return if now < dissolved_at + STAGING { State::Dissolving } else { State::Dissolved };
        }
        if let Some(lock) = self.lock {
            return if now < lock.final_from { State::Locking } else { State::Locked };
        }
        let unbound = |closure: &Closure| closure.cause == Cause::Unbound && closure.covers(now);
        if closures.iter().any(unbound) { State::Unbound } else { State::Open }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:30 UTC);

    fn workspace() -> Workspace {
        Workspace {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(1)),
            owner: ConsoleAccountId::from_uuid(Uuid::from_u128(2)),
            name: "x".into(),
            site: Site::from_word("CN1_HANGZHOU").unwrap(),
            language: Language::En,
            commercial_from: None,
            lock: None,
            dissolved_at: None,
            created_at: NOW,
        }
    }

    #[test]
    fn a_lock_counts_14_days_down_to_a_full_hour() {
        let lock = Lock::beginning(LockCause::Arrears, NOW);
        assert_eq!(lock.final_from, datetime!(2026-12-08 11:00 UTC));
        let locked = Workspace { lock: Some(lock), ..workspace() };
        assert_eq!(locked.state(&[], lock.final_from - Duration::MICROSECOND), State::Locking);
        assert_eq!(locked.state(&[], lock.final_from), State::Locked);
    }

    #[test]
    fn the_owner_is_told_on_days_0_11_13_and_14_each_once() {
        let mut lock = Lock::beginning(LockCause::Arrears, NOW);
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
    fn a_dissolved_workspace_is_staged_for_7_days() {
        let dissolved = Workspace { dissolved_at: Some(NOW), ..workspace() };
        assert_eq!(dissolved.state(&[], NOW + STAGING - Duration::MICROSECOND), State::Dissolving);
        assert_eq!(dissolved.state(&[], NOW + STAGING), State::Dissolved);
    }

    #[test]
    fn a_workspace_that_nobody_pays_for_is_unbound() {
        let closure = Closure { cause: Cause::Unbound, from: NOW, until: None };
        assert_eq!(workspace().state(&[closure], NOW - Duration::SECOND), State::Open);
        assert_eq!(workspace().state(&[closure], NOW), State::Unbound);
    }
}
