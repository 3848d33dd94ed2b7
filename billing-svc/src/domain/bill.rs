//! A bill: issued once, never changed, chained to the one before it.

use std::fmt::Write as _;

use chassis::civil::UsageDate;
use chassis::id::{BillId, BillingAccountId, RunId, SettlementId, WorkspaceId};
use chassis::money::{InvalidMoney, Money, print_decimal};
use chassis::site::SiteClass;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::rating::{self, BillLine, RULE_SET_VERSION};
use super::sealed_day::SealedDay;

/// What kind of bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The day's usage.
    Daily,
    /// Usage up to the end of a cloud subscription.
    CloseOut,
    /// A later difference to be paid.
    Adjustment,
    /// A later difference to be refunded.
    Credit,
}

impl Kind {
    /// All of them.
    const ALL: [Self; 4] = [Self::Daily, Self::CloseOut, Self::Adjustment, Self::Credit];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::CloseOut => "CLOSE_OUT",
            Self::Adjustment => "ADJUSTMENT",
            Self::Credit => "CREDIT",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The end of a workspace's chain of bills.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainEnd {
    /// How many bills there are.
    pub number: i64,
    /// The digest of the newest; empty when there is none.
    pub digest: Vec<u8>,
}

/// A bill.
#[derive(Debug, Clone)]
pub struct Bill {
    /// Its id.
    pub bill_id: BillId,
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Of which day.
    pub usage_date: UsageDate,
    /// What kind.
    pub kind: Kind,
    /// Which of its kind, from 1.
    pub seq: i32,
    /// Its place among the workspace's bills, from 1.
    pub chain_number: i64,
    /// Who pays.
    pub billing_account_id: BillingAccountId,
    /// At whose prices.
    pub site_class: SiteClass,
    /// The publication of the price book.
    pub price_version: i32,
    /// The rating rules.
    pub rule_set_version: i32,
    /// In the order of deduction.
    pub lines: Vec<BillLine>,
    /// The sum of the lines.
    pub total: Money,
    /// Of the sealed day.
    pub sealed_digest: Vec<u8>,
    /// Of the bill before it; empty for the first.
    pub previous_digest: Vec<u8>,
    /// SHA-256 of the canonical text.
    pub digest: Vec<u8>,
    /// The run that made it.
    pub run_id: RunId,
    /// When.
    pub issued_at: OffsetDateTime,
}

/// The day's bill of a workspace, next in its chain.
pub fn daily_bill(
    day: &SealedDay,
    lines: Vec<BillLine>,
    price_version: i32,
    chain: &ChainEnd,
    run_id: RunId,
    now: OffsetDateTime,
) -> Result<Bill, InvalidMoney> {
    let total = rating::total(&lines, day.currency)?;
    let mut bill = Bill {
        bill_id: BillId::new(now),
        workspace_id: day.workspace_id,
        usage_date: day.usage_date,
        kind: Kind::Daily,
        seq: 1,
        chain_number: chain.number + 1,
        billing_account_id: day.billing_account_id,
        site_class: day.site_class,
        price_version,
        rule_set_version: RULE_SET_VERSION,
        lines,
        total,
        sealed_digest: day.digest.to_vec(),
        previous_digest: chain.digest.clone(),
        digest: Vec::new(),
        run_id,
        issued_at: now,
    };
    bill.digest = Sha256::digest(bill.canonical().as_bytes()).to_vec();
    Ok(bill)
}

impl Bill {
    /// One line per fact, in one order. It names the previous bill's digest, which makes the chain.
    pub fn canonical(&self) -> String {
        let mut text = format!(
            "tallystick bill 1\nbill {}\nworkspace {}\nday {}\nkind {}\nseq {}\nnumber {}\npayer {}\nclass {}\nprices {}\nrules {}\n\
             sealed {}\nprevious {}\n",
            self.bill_id,
            self.workspace_id,
            self.usage_date,
            self.kind.word(),
            self.seq,
            self.chain_number,
            self.billing_account_id,
            self.site_class.word(),
            self.price_version,
            self.rule_set_version,
            chassis::wire::hex(&self.sealed_digest),
            chassis::wire::hex(&self.previous_digest),
        );
        for line in &self.lines {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "line {}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
                line.item,
                line.dimension,
                line.retention_days,
                print_decimal(line.quantity),
                print_decimal(line.unit_size),
                print_decimal(line.units),
                print_decimal(line.unit_price),
                print_decimal(line.discount),
                print_decimal(line.list_amount),
                line.amount.printed(),
            );
        }
        let _ = writeln!(text, "total {}", self.total);
        text
    }
}

/// How a bill was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillSettlement {
    /// Which settlement; None for a zero bill, which is settled at issue (DEC-47).
    pub settlement_id: Option<SettlementId>,
    /// From vouchers.
    pub voucher: Money,
    /// From prepaid cards.
    pub card: Money,
    /// From cash.
    pub cash: Money,
    /// Through a cloud marketplace.
    pub cloud: Money,
    /// Nothing covered it.
    pub owed: Money,
    /// When.
    pub settled_at: OffsetDateTime,
}

impl BillSettlement {
    /// The parts add up to the bill's total, and none is negative (invariant 5).
    pub fn adds_up_to(&self, total: Money) -> bool {
        let parts = [self.voucher, self.card, self.cash, self.cloud, self.owed];
        parts.iter().all(|part| !part.is_negative()) && Money::sum(total.currency(), parts) == Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use chassis::money::Currency;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;

    fn day() -> SealedDay {
        SealedDay {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(1)),
            usage_date: "2026-11-24".parse().unwrap(),
            billing_account_id: BillingAccountId::from_uuid(Uuid::from_u128(2)),
            currency: Currency::Cny,
            site_class: SiteClass::China,
            quantities: Vec::new(),
            digest: [7; 32],
        }
    }

    fn bill(chain: &ChainEnd) -> Bill {
        let run = RunId::from_uuid(Uuid::from_u128(3));
        daily_bill(&day(), Vec::new(), 1, chain, run, OffsetDateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_bill_names_the_digest_of_the_one_before() {
        let first = bill(&ChainEnd::default());
        let second = bill(&ChainEnd { number: first.chain_number, digest: first.digest.clone() });
        assert_eq!(second.chain_number, 2);
        assert_eq!(second.previous_digest, first.digest);
        assert_ne!(second.digest, first.digest);
    }

    #[test]
    fn a_settlement_that_does_not_add_up_is_none() {
        let cny = |cents: i64| Money::new(Decimal::new(cents, 2), Currency::Cny).unwrap();
        let mut settlement = BillSettlement {
            settlement_id: None,
            voucher: cny(100),
            card: cny(0),
            cash: cny(50),
            cloud: cny(0),
            owed: cny(25),
            settled_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert!(settlement.adds_up_to(cny(175)));
        assert!(!settlement.adds_up_to(cny(174)));
        settlement.cash = cny(-50);
        assert!(!settlement.adds_up_to(cny(75)));
    }
}
