//! The making of a day's bills.

use chassis::civil::UsageDate;
use chassis::id::{RunId, WorkspaceId};
use time::OffsetDateTime;

use super::rating::{Quantity, Unratable};

/// Lines of one bill: what settlement-svc takes in one message.
pub const LINES_MAX: usize = 20_000;

/// A run.
#[derive(Debug, Clone)]
pub struct BillRun {
    /// Its id.
    pub run_id: RunId,
    /// Of which day.
    pub usage_date: UsageDate,
    /// How far it came.
    pub state: State,
    /// What the manifest wants: workspaces that are sealed, and those that could not be.
    pub workspace_count: i32,
    /// Workspaces with their bill.
    pub billed_count: i32,
    /// Workspaces that could not be billed.
    pub failed_count: i32,
    /// The trace of the call that asked for it; empty outside of one.
    pub trace_context: String,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits.
    Pending,
    /// Makes bills.
    Running,
    /// Bills and failures equal the manifest.
    Succeeded,
    /// Ended by an operator.
    Cancelled,
}

impl State {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Succeeded, Self::Cancelled]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// Why a workspace has no bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFailure {
    /// Which workspace.
    pub workspace_id: WorkspaceId,
    /// The reason's word.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl RunFailure {
    /// There is no price book for the workspace's currency and class.
    pub fn no_book(workspace_id: WorkspaceId) -> Self {
        let message = "no price book for its currency and site class".to_owned();
        Self { workspace_id, reason: "NO_BOOK", message }
    }

    /// A fault of ours, which the log has.
    pub fn fault(workspace_id: WorkspaceId) -> Self {
        Self { workspace_id, reason: "FAULT", message: "a fault of ours; the log has it".to_owned() }
    }

    /// The workspace's day could not be sealed, for this reason. Another run bills it once it is.
    pub fn not_sealed(workspace_id: WorkspaceId, message: String) -> Self {
        Self { workspace_id, reason: "NOT_SEALED", message }
    }

    /// The day has more lines than a bill can have.
    pub fn too_many_lines(workspace_id: WorkspaceId, count: usize) -> Self {
        let message = format!("{count} lines, and a bill has {LINES_MAX} at most");
        Self { workspace_id, reason: "OUT_OF_BOUNDS", message }
    }

    /// A quantity could not be priced.
    pub fn unratable(workspace_id: WorkspaceId, unratable: &Unratable) -> Self {
        let words = |q: &Quantity| {
            let index = if q.dimension.is_empty() { String::new() } else { format!(" of {}", q.dimension) };
            format!("{}{index} at {} days, quantity {}", q.item, q.retention_days, q.quantity)
        };
        match unratable {
            Unratable::NoPrice(quantity) => {
                Self { workspace_id, reason: "NO_PRICE", message: words(quantity) }
            }
            Unratable::OutOfBounds(quantity) => {
                Self { workspace_id, reason: "OUT_OF_BOUNDS", message: words(quantity) }
            }
        }
    }
}

/// What came of a part of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Workspaces with their bill, made now or before.
    pub billed_count: i32,
    /// Workspaces without.
    pub failures: Vec<RunFailure>,
}
