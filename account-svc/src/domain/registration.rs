//! A customer's way in, and which step is missing.

use chassis::id::{BillingAccountId, ConsoleAccountId, RegistrationId, WorkspaceId};
use chassis::money::Currency;
use chassis::site::Site;
use time::OffsetDateTime;

use super::username::Username;

/// A registration and how far it came.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its id.
    pub registration_id: RegistrationId,
    /// Where.
    pub site: Site,
    /// The user name that was asked for last.
    pub username: Username,
    /// The billing account's currency.
    pub currency: Currency,
    /// The workspace's name.
    pub workspace_name: String,
    /// Whether steps are missing.
    pub state: State,
    /// Step 1.
    pub console_account_id: ConsoleAccountId,
    /// Step 2.
    pub billing_account_id: Option<BillingAccountId>,
    /// Step 3.
    pub workspace_id: Option<WorkspaceId>,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// Step 4, the binding, is done.
    pub completed_at: Option<OffsetDateTime>,
}

/// Whether steps are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Running,
    /// Yes, and it waits for another user name.
    UsernameTaken,
    /// No.
    Complete,
}

/// The first missing step (DEC-69).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the billing account.
    BillingAccount,
    /// Make the workspace.
    Workspace,
    /// Bind it: workspace and payer are known.
    Binding(WorkspaceId, BillingAccountId),
    /// None is missing.
    Done,
}

impl Registration {
    /// What is to be done next.
    pub fn next_step(&self) -> Step {
        match (self.billing_account_id, self.workspace_id) {
            _ if self.state == State::Complete => Step::Done,
            (None, _) => Step::BillingAccount,
            (Some(_), None) => Step::Workspace,
            (Some(payer), Some(workspace)) => Step::Binding(workspace, payer),
        }
    }
}

impl State {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::UsernameTaken => "USERNAME_TAKEN",
            Self::Complete => "COMPLETE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::UsernameTaken, Self::Complete].into_iter().find(|state| state.word() == word)
    }
}
