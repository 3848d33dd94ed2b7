//! The unit of metering and billing.

use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::site::Site;
use time::{Duration, OffsetDateTime};

use super::closure::{Cause, Closure};
use super::lock::Lock;

/// How long a dissolved workspace can be restored (WS-9).
pub const STAGING: Duration = Duration::days(7);

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
    use crate::domain::lock::LockCause;

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
        let lock = Lock::beginning(LockCause::Arrears, None, NOW);
        assert_eq!(lock.final_from, datetime!(2026-12-08 11:00 UTC));
        let locked = Workspace { lock: Some(lock), ..workspace() };
        assert_eq!(locked.state(&[], lock.final_from - Duration::MICROSECOND), State::Locking);
        assert_eq!(locked.state(&[], lock.final_from), State::Locked);
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
