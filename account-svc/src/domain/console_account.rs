//! Who logs in.

use chassis::id::ConsoleAccountId;
use chassis::site::Site;
use time::OffsetDateTime;

use super::email::Email;

/// A console account.
#[derive(Debug, Clone)]
pub struct ConsoleAccount {
    /// Its id.
    pub console_account_id: ConsoleAccountId,
    /// Its site, for ever.
    pub site: Site,
    /// Its identity within the site.
    pub email: Email,
    /// When it was made.
    pub created_at: OffsetDateTime,
}
