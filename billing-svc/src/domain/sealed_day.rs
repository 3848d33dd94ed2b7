//! A day of a workspace as workspace-svc sealed it: the facts that a bill follows from.

use chassis::civil::UsageDate;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::Currency;
use chassis::site::SiteClass;

use super::price_book::BookKey;
use super::rating::Quantity;

/// The day.
#[derive(Debug, Clone)]
pub struct SealedDay {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// On which day.
    pub usage_date: UsageDate,
    /// Who pays.
    pub billing_account_id: BillingAccountId,
    /// In what.
    pub currency: Currency,
    /// At whose prices.
    pub site_class: SiteClass,
    /// What was used.
    pub quantities: Vec<Quantity>,
    /// Of its canonical text.
    pub digest: [u8; 32],
}

impl SealedDay {
    /// The book that it is rated in.
    pub fn book(&self) -> BookKey {
        BookKey { currency: self.currency, site_class: self.site_class }
    }
}
