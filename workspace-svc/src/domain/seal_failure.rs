//! A day of a workspace that cannot be sealed: it is listed, holds back no other, and is tried again.

use chassis::id::WorkspaceId;
use time::OffsetDateTime;

use super::daily_usage::Unreducible;

/// What is longer is cut.
const TEXT_LENGTH_MAX: usize = 500;

/// Of what kind a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was commercial, and nobody was bound.
    NoPayer,
    /// A quantity is more than is kept.
    TooLarge,
    /// A fault of ours: its rows cannot be read, or contradict each other.
    Fault,
}

impl Reason {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoPayer => "NO_PAYER",
            Self::TooLarge => "TOO_LARGE",
            Self::Fault => "FAULT",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::NoPayer, Self::TooLarge, Self::Fault].into_iter().find(|reason| reason.word() == word)
    }
}

/// Why a day of a workspace cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Of what kind.
    pub reason: Reason,
    /// In words, 1 to 500 characters.
    pub text: String,
}

impl Problem {
    /// It was commercial on the day, and nobody was bound.
    pub fn no_payer() -> Self {
        Self::new(Reason::NoPayer, "commercial on the day, and bound to no billing account")
    }

    /// A fault of ours.
    pub fn fault(text: impl std::fmt::Display) -> Self {
        Self::new(Reason::Fault, text)
    }

    fn new(reason: Reason, text: impl std::fmt::Display) -> Self {
        let plain = |character: char| if character.is_control() { ' ' } else { character };
        let text: String = text.to_string().chars().map(plain).take(TEXT_LENGTH_MAX).collect();
        Self { reason, text }
    }
}

impl From<Unreducible> for Problem {
    fn from(unreducible: Unreducible) -> Self {
        let reason = match unreducible {
            Unreducible::TooLarge(_) => Reason::TooLarge,
            Unreducible::Meter(_) | Unreducible::Policy(..) => Reason::Fault,
        };
        Self::new(reason, unreducible)
    }
}

/// A workspace whose day is not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealFailure {
    /// Which workspace.
    pub workspace_id: WorkspaceId,
    /// Why, the last time.
    pub problem: Problem,
    /// When that was.
    pub failed_at: OffsetDateTime,
    /// How often it was tried.
    pub tries: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_its_kind_and_is_cut_to_what_is_kept() {
        let too_large = Problem::from(Unreducible::TooLarge("pv".to_owned()));
        assert_eq!(
            (too_large.reason, too_large.text.as_str()),
            (Reason::TooLarge, "pv adds up to more than is kept")
        );
        assert_eq!(Problem::from(Unreducible::Meter(99)).reason, Reason::Fault);
        let long = Problem::fault("多\n".repeat(400));
        assert_eq!((long.text.chars().count(), long.text.contains('\n')), (500, false));
    }

    #[test]
    fn every_reason_has_a_word_that_reads_back() {
        for reason in [Reason::NoPayer, Reason::TooLarge, Reason::Fault] {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
        }
        assert_eq!(Reason::from_word("X"), None);
    }
}
