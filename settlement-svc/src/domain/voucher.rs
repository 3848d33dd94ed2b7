//! Granted credit.

use chassis::civil::UsageDate;
use chassis::id::{BillingAccountId, VoucherId};
use chassis::money::Money;
use time::OffsetDateTime;

/// What kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Granted; used first.
    Plain,
    /// Granted for a large purchase of prepaid cards; used after plain ones.
    FullReduction,
}

/// A voucher. What is left of it is the balance of its ledger account.
#[derive(Debug, Clone)]
pub struct Voucher {
    /// Its id.
    pub voucher_id: VoucherId,
    /// Whose.
    pub billing_account_id: BillingAccountId,
    /// What kind.
    pub kind: Kind,
    /// What was granted.
    pub face_value: Money,
    /// When it became usable.
    pub activated_at: OffsetDateTime,
    /// Its last valid day.
    pub last_date: UsageDate,
}

impl Voucher {
    /// It may pay a bill of a day up to its last one, however late the bill is settled, once it is active (DEC-29).
    pub fn may_pay(&self, usage_date: UsageDate, settle_time: OffsetDateTime) -> bool {
        usage_date <= self.last_date && self.activated_at <= settle_time
    }
}

impl Kind {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::FullReduction => "FULL_REDUCTION",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Plain, Self::FullReduction].into_iter().find(|kind| kind.word() == word)
    }
}
