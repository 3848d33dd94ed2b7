//! Who works in a workspace besides its owner (RO-1).

use chassis::id::{ConsoleAccountId, WorkspaceId};
use time::OffsetDateTime;

/// A role in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything but what is the owner's alone.
    Administrator,
    /// The data.
    Standard,
    /// The data, looking only.
    ReadOnly,
    /// The data; and plan and bills, reading, when it was granted.
    Custom {
        /// Whether it was.
        reads_bills: bool,
    },
}

impl Role {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Administrator => "ADMINISTRATOR",
            Self::Standard => "STANDARD",
            Self::ReadOnly => "READ_ONLY",
            Self::Custom { .. } => "CUSTOM",
        }
    }

    /// From the database.
    pub fn from_word(word: &str, reads_bills: bool) -> Option<Self> {
        match word {
            "ADMINISTRATOR" => Some(Self::Administrator),
            "STANDARD" => Some(Self::Standard),
            "READ_ONLY" => Some(Self::ReadOnly),
            "CUSTOM" => Some(Self::Custom { reads_bills }),
            _ => None,
        }
    }

    /// Whether a grant stands in the row.
    pub fn is_granted_bills(self) -> bool {
        self == Self::Custom { reads_bills: true }
    }

    /// Whether it reads plan and bills.
    pub fn reads_bills(self) -> bool {
        self == Self::Administrator || self.is_granted_bills()
    }
}

/// A console account in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Who.
    pub console_account_id: ConsoleAccountId,
    /// What it may do now.
    pub role: Role,
    /// A raise to administrator waits for the payer.
    pub review_pending: bool,
    /// Since when.
    pub created_at: OffsetDateTime,
}

impl Member {
    /// Gives it a role. In a commercial workspace a raise to administrator waits for review, and what it was holds until then (PLAN-17).
    #[must_use]
    pub fn with_role(self, role: Role, is_commercial: bool) -> Self {
        let raised = role == Role::Administrator && self.role != Role::Administrator;
        if raised && is_commercial {
            Self { review_pending: true, ..self }
        } else {
            Self { role, review_pending: false, ..self }
        }
    }

    /// Says yes or no to a raise; None when there is none.
    #[must_use]
    pub fn reviewed(self, verdict: Verdict) -> Option<Self> {
        if !self.review_pending {
            return None;
        }
        let role = match verdict {
            Verdict::Approved => Role::Administrator,
            Verdict::Declined => self.role,
        };
        Some(Self { role, review_pending: false, ..self })
    }
}

/// What the payer says of a raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Approved,
    /// No.
    Declined,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn member(role: Role) -> Member {
        Member {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(1)),
            console_account_id: ConsoleAccountId::from_uuid(Uuid::from_u128(2)),
            role,
            review_pending: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_raise_to_administrator_waits_for_the_payer_in_a_commercial_workspace_only() {
        let raised = member(Role::Standard).with_role(Role::Administrator, true);
        assert_eq!((raised.role, raised.review_pending), (Role::Standard, true));
        assert_eq!(raised.clone().reviewed(Verdict::Approved).unwrap().role, Role::Administrator);
        let declined = raised.clone().reviewed(Verdict::Declined).unwrap();
        assert_eq!((declined.role, declined.review_pending), (Role::Standard, false));
        assert_eq!(declined.reviewed(Verdict::Approved), None);
        let trial = member(Role::ReadOnly).with_role(Role::Administrator, false);
        assert_eq!((trial.role, trial.review_pending), (Role::Administrator, false));
        let lowered = raised.with_role(Role::ReadOnly, true);
        assert_eq!(
            (lowered.role, lowered.review_pending),
            (Role::ReadOnly, false),
            "what waited is withdrawn"
        );
        let again = member(Role::Administrator).with_role(Role::Administrator, true);
        assert!(!again.review_pending, "it is one already");
    }

    #[test]
    fn only_administrators_and_granted_custom_roles_read_bills() {
        for (role, reads) in [
            (Role::Administrator, true),
            (Role::Standard, false),
            (Role::ReadOnly, false),
            (Role::Custom { reads_bills: true }, true),
            (Role::Custom { reads_bills: false }, false),
        ] {
            assert_eq!(role.reads_bills(), reads, "{role:?}");
            assert_eq!(Role::from_word(role.word(), role.is_granted_bills()), Some(role));
        }
    }
}
