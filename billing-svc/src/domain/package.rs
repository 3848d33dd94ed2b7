//! Yearly packages (YP-1).

use chassis::civil::UsageDate;
use chassis::id::{BillingAccountId, OrderId};
use time::OffsetDateTime;

/// How many days a package runs: twelve times 31 (DEC-34).
pub const TERM_DAYS: i64 = 372;

/// Which package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For those who begin.
    Startup,
    /// For those who grow.
    Growth,
    /// For enterprises.
    Enterprise,
}

impl Kind {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "STARTUP",
            Self::Growth => "GROWTH",
            Self::Enterprise => "ENTERPRISE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Startup, Self::Growth, Self::Enterprise].into_iter().find(|kind| kind.word() == word)
    }
}

/// A package that was sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// By which order.
    pub order_id: OrderId,
    /// To whom.
    pub billing_account_id: BillingAccountId,
    /// Which.
    pub kind: Kind,
    /// Its first day.
    pub start_date: UsageDate,
    /// When it was sold.
    pub created_at: OffsetDateTime,
}

impl Package {
    /// The day after its last.
    pub fn end_date(&self) -> UsageDate {
        self.start_date.plus_days(TERM_DAYS)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_package_runs_372_days() {
        let package = Package {
            order_id: OrderId::from_uuid(Uuid::from_u128(1)),
            billing_account_id: BillingAccountId::from_uuid(Uuid::from_u128(2)),
            kind: Kind::Startup,
            start_date: "2026-11-27".parse().unwrap(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert_eq!(package.end_date().to_string(), "2027-12-04");
        for kind in [Kind::Startup, Kind::Growth, Kind::Enterprise] {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}
