//! Who logs in.

use chassis::id::ConsoleAccountId;
use chassis::site::Site;
use time::OffsetDateTime;

use super::account_state::AccountState;
use super::email::Email;
use super::phone::Phone;

/// A console account.
#[derive(Debug, Clone)]
pub struct ConsoleAccount {
    /// Its id.
    pub console_account_id: ConsoleAccountId,
    /// Its site, for ever.
    pub site: Site,
    /// Its identity within the site.
    pub email: Email,
    /// What it is called; may be empty.
    pub display_name: String,
    /// Unique within the site (ACC-7).
    pub phone: Option<Phone>,
    /// Whether it is open.
    pub state: AccountState,
    /// When it was made.
    pub created_at: OffsetDateTime,
}
