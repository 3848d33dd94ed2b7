//! The unit of metering and billing.

use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::site::Site;
use time::OffsetDateTime;

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
    /// From when on its usage is charged: a full hour. None while it is a trial.
    pub commercial_from: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}
