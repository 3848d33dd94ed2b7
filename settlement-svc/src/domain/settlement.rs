//! How a bill was paid, decided once.

use chassis::civil::UsageDate;
use chassis::id::{BillId, BillingAccountId, SettlementId, SubscriptionId, WorkspaceId};
use chassis::money::{InvalidMoney, Money};
use time::OffsetDateTime;

use super::deduction::{Allocation, Line, SourceKind};

/// A bill as billing-svc hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Its id.
    pub bill_id: BillId,
    /// The payer of the day.
    pub billing_account_id: BillingAccountId,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Of which day.
    pub usage_date: UsageDate,
    /// The sum of its lines.
    pub total: Money,
    /// In order of deduction.
    pub lines: Vec<Line>,
    /// Of the bill's canonical text.
    pub digest: [u8; 32],
}

/// A settlement.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Its id.
    pub settlement_id: SettlementId,
    /// Of which bill.
    pub bill_id: BillId,
    /// Who paid.
    pub billing_account_id: BillingAccountId,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Of which day.
    pub usage_date: UsageDate,
    /// The subscription that took what was left; None: the wallet paid.
    pub subscription: Option<SubscriptionId>,
    /// The bill's total.
    pub total: Money,
    /// What nothing covered.
    pub owed: Money,
    /// What of it is still owed.
    pub owed_remaining: Money,
    /// The bill's digest.
    pub bill_digest: Vec<u8>,
    /// In order of deduction.
    pub allocations: Vec<Allocation>,
    /// When.
    pub settled_at: OffsetDateTime,
}

impl Settlement {
    /// What sources of these kinds paid.
    pub fn paid_by(&self, kinds: &[SourceKind]) -> Result<Money, InvalidMoney> {
        let parts = self.allocations.iter().filter(|part| kinds.contains(&part.kind)).map(|part| part.amount);
        Money::sum(self.total.currency(), parts)
    }

    /// Whether it is that of this bill.
    pub fn is_of(&self, bill: &Bill) -> bool {
        self.bill_id == bill.bill_id
            && self.billing_account_id == bill.billing_account_id
            && self.total == bill.total
            && self.bill_digest == bill.digest
    }
}
