//! Who pays.

use chassis::id::BillingAccountId;
use chassis::money::Currency;
use time::OffsetDateTime;

use super::username::Username;

/// A billing account.
#[derive(Debug, Clone)]
pub struct BillingAccount {
    /// Its id.
    pub billing_account_id: BillingAccountId,
    /// Its identity over all sites.
    pub username: Username,
    /// Its one currency, for ever (DEC-53).
    pub currency: Currency,
    /// When it was made.
    pub created_at: OffsetDateTime,
}
