//! Who pays for what: one pure function from the lines of a bill and the sources of a wallet to allocations, and what is owed
//! (ST-1, ST-3, ST-5, DEC-23, DEC-26).

use chassis::civil::UsageDate;
use chassis::money::{InvalidMoney, Money};
use time::OffsetDateTime;
use uuid::Uuid;

/// Where money comes from, in order of deduction (ST-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A plain voucher.
    PlainVoucher,
    /// A full-reduction voucher.
    FullReductionVoucher,
    /// A prepaid card.
    PrepaidCard,
    /// Cash.
    Cash,
    /// The cloud account of a subscription, which takes whatever is left (ST-2).
    CloudAccount,
}

impl SourceKind {
    const ALL: [Self; 5] =
        [Self::PlainVoucher, Self::FullReductionVoucher, Self::PrepaidCard, Self::Cash, Self::CloudAccount];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::PlainVoucher => "PLAIN_VOUCHER",
            Self::FullReductionVoucher => "FULL_REDUCTION_VOUCHER",
            Self::PrepaidCard => "PREPAID_CARD",
            Self::Cash => "CASH",
            Self::CloudAccount => "CLOUD_ACCOUNT",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Vouchers do not pay SMS and synthetic tests (ST-3).
    pub fn may_pay_restricted(self) -> bool {
        match self {
            Self::PlainVoucher | Self::FullReductionVoucher => false,
            Self::PrepaidCard | Self::Cash | Self::CloudAccount => true,
        }
    }
}

/// A source that may pay the bill, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// Which voucher or card; None for cash.
    pub source_id: Option<Uuid>,
    /// What is left.
    pub balance: Money,
    /// Its last valid day; None for cash.
    pub last_date: Option<UsageDate>,
    /// When it became usable; None for cash.
    pub activated_at: Option<OffsetDateTime>,
}

/// A line to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// How much.
    pub amount: Money,
    /// Vouchers may not pay it.
    pub is_restricted: bool,
}

/// A part of a line, from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The line, from 1.
    pub line_number: i32,
    /// The kind of source.
    pub kind: SourceKind,
    /// Which one; None for cash.
    pub source_id: Option<Uuid>,
    /// How much, always positive.
    pub amount: Money,
}

/// Everything that is decided of a bill. The allocations and what is owed add up to its total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deduction {
    /// In order of deduction.
    pub allocations: Vec<Allocation>,
    /// What nothing covers.
    pub owed: Money,
}

/// Earliest expiry first, then earliest activation, then smallest id (DEC-23); kinds in the order of ST-1.
fn in_order(mut sources: Vec<Source>) -> Vec<Source> {
    sources.sort_by(|a, b| {
        let key = |source: &Source| (source.kind, source.last_date, source.activated_at, source.source_id);
        key(a).cmp(&key(b))
    });
    sources
}

/// Where what no voucher and no card covers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    /// It is owed (ST-5).
    Owed,
    /// To the cloud account of a subscription (ST-2).
    Cloud(Uuid),
}

/// What the remainder of a line becomes.
fn settle_remainder(remainder: Remainder, left: Money, line_number: i32) -> Option<Allocation> {
    let Remainder::Cloud(subscription) = remainder else { return None };
    let kind = SourceKind::CloudAccount;
    left.is_positive().then_some(Allocation {
        line_number,
        kind,
        source_id: Some(subscription),
        amount: left,
    })
}

/// Pays line after line, each from the first sources that have something left and may pay it.
pub fn deduct(
    lines: &[Line],
    sources: Vec<Source>,
    remainder: Remainder,
    zero: Money,
) -> Result<Deduction, InvalidMoney> {
    let mut sources = in_order(sources);
    let mut allocations = Vec::new();
    let mut owed = zero;
    for (line, line_number) in lines.iter().zip(1..) {
        let mut left = line.amount;
        let may_pay = |kind: SourceKind| !line.is_restricted || kind.may_pay_restricted();
        for source in sources.iter_mut().filter(|source| may_pay(source.kind)) {
            let amount = left.min(source.balance)?;
            if !amount.is_positive() {
                continue;
            }
            source.balance = source.balance.minus(amount)?;
            left = left.minus(amount)?;
            allocations.push(Allocation {
                line_number,
                kind: source.kind,
                source_id: source.source_id,
                amount,
            });
        }
        match settle_remainder(remainder, left, line_number) {
            Some(allocation) => allocations.push(allocation),
            None => owed = owed.plus(left)?,
        }
    }
    Ok(Deduction { allocations, owed })
}

#[cfg(test)]
mod tests {
    use chassis::money::Currency;
    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use time::macros::datetime;

    use super::*;

    fn cny(cents: i64) -> Money {
        Money::new(Decimal::new(cents, 2), Currency::Cny).unwrap()
    }

    fn source(kind: SourceKind, id: u128, cents: i64) -> Source {
        let dated = kind != SourceKind::Cash;
        Source {
            kind,
            source_id: dated.then_some(Uuid::from_u128(id)),
            balance: cny(cents),
            last_date: dated.then(|| "2026-12-31".parse().unwrap()),
            activated_at: dated.then_some(datetime!(2026-01-01 00:00 UTC)),
        }
    }

    fn paid(deduction: &Deduction, line: i32, kind: SourceKind) -> String {
        let parts = deduction.allocations.iter().filter(|part| part.line_number == line && part.kind == kind);
        Money::sum(Currency::Cny, parts.map(|part| part.amount)).unwrap().printed()
    }

    /// EX-25: 80.00 ordinary and 20.00 restricted; plain 30, full-reduction 20, card 25, cash 10: 15 is owed.
    #[test]
    fn the_printed_example_of_deduction_holds() {
        let lines = [
            Line { amount: cny(8_000), is_restricted: false },
            Line { amount: cny(2_000), is_restricted: true },
        ];
        let sources = vec![
            source(SourceKind::Cash, 0, 1_000),
            source(SourceKind::PrepaidCard, 3, 2_500),
            source(SourceKind::FullReductionVoucher, 2, 2_000),
            source(SourceKind::PlainVoucher, 1, 3_000),
        ];
        let deduction = deduct(&lines, sources, Remainder::Owed, cny(0)).unwrap();
        assert_eq!(paid(&deduction, 1, SourceKind::PlainVoucher), "30.00");
        assert_eq!(paid(&deduction, 1, SourceKind::FullReductionVoucher), "20.00");
        assert_eq!(paid(&deduction, 1, SourceKind::PrepaidCard), "25.00");
        assert_eq!(paid(&deduction, 1, SourceKind::Cash), "5.00");
        assert_eq!(paid(&deduction, 2, SourceKind::Cash), "5.00");
        assert_eq!(deduction.owed.printed(), "15.00");
    }

    #[test]
    fn vouchers_never_pay_sms_and_synthetic_tests() {
        let lines = [Line { amount: cny(500), is_restricted: true }];
        let sources = vec![source(SourceKind::PlainVoucher, 1, 10_000)];
        let deduction = deduct(&lines, sources, Remainder::Owed, cny(0)).unwrap();
        assert!(deduction.allocations.is_empty());
        assert_eq!(deduction.owed, cny(500));
    }

    /// ST-2: vouchers and cards first, no cash, and the rest to the cloud account; SMS and synthetic tests take no vouchers there either (ST-3).
    #[test]
    fn under_a_cloud_account_nothing_is_owed_and_the_rest_is_the_vendors() {
        let lines = [
            Line { amount: cny(8_000), is_restricted: false },
            Line { amount: cny(2_000), is_restricted: true },
        ];
        let sources =
            vec![source(SourceKind::PrepaidCard, 3, 2_500), source(SourceKind::PlainVoucher, 1, 3_000)];
        let subscription = Uuid::from_u128(9);
        let deduction = deduct(&lines, sources, Remainder::Cloud(subscription), cny(0)).unwrap();
        assert_eq!(paid(&deduction, 1, SourceKind::PlainVoucher), "30.00");
        assert_eq!(paid(&deduction, 1, SourceKind::PrepaidCard), "25.00");
        assert_eq!(paid(&deduction, 1, SourceKind::CloudAccount), "25.00");
        assert_eq!(paid(&deduction, 2, SourceKind::CloudAccount), "20.00");
        assert!(!deduction.owed.is_positive());
        assert!(deduction.allocations.iter().all(|part| part.kind != SourceKind::Cash));
    }

    #[test]
    fn of_one_kind_the_earliest_expiry_is_used_first_then_the_earliest_activation_then_the_smallest_id() {
        let voucher = |id, last: &str, activated_at| Source {
            last_date: Some(last.parse().unwrap()),
            activated_at: Some(activated_at),
            ..source(SourceKind::PlainVoucher, id, 100)
        };
        let early = datetime!(2026-01-01 00:00 UTC);
        let late = datetime!(2026-02-01 00:00 UTC);
        let sources = vec![
            voucher(5, "2026-12-31", early),
            voucher(4, "2026-11-30", late),
            voucher(3, "2026-11-30", early),
            voucher(2, "2026-11-30", early),
        ];
        let lines = [Line { amount: cny(400), is_restricted: false }];
        let deduction = deduct(&lines, sources, Remainder::Owed, cny(0)).unwrap();
        let order: Vec<_> =
            deduction.allocations.iter().map(|part| part.source_id.unwrap().as_u128()).collect();
        assert_eq!(order, [2, 3, 4, 5]);
    }

    fn kind(number: u8) -> SourceKind {
        SourceKind::ALL[usize::from(number % 4)] // of the wallet
    }

    proptest! {
        /// Money is conserved: allocations and what is owed add up to the total, no source pays more than it has, and something
        /// is owed only when every source that may pay is empty.
        #[test]
        fn allocations_and_what_is_owed_add_up_to_the_total(
            lines in proptest::collection::vec((0_i64..100_000, any::<bool>()), 0..12),
            balances in proptest::collection::vec((any::<u8>(), 0_i64..100_000), 0..8),
        ) {
            let lines: Vec<_> = lines.iter().map(|&(c, is_restricted)| Line { amount: cny(c), is_restricted }).collect();
            let sources: Vec<_> = balances.iter().zip(1..).map(|(&(k, c), id)| source(kind(k), id, c)).collect();
            let deduction = deduct(&lines, sources.clone(), Remainder::Owed, cny(0)).unwrap();
            let total = Money::sum(Currency::Cny, lines.iter().map(|line| line.amount)).unwrap();
            let parts = deduction.allocations.iter().map(|part| part.amount);
            prop_assert_eq!(Money::sum(Currency::Cny, parts).unwrap().plus(deduction.owed).unwrap(), total);
            prop_assert!(deduction.allocations.iter().all(|part| part.amount.is_positive()));
            for part in &deduction.allocations {
                let line = lines[usize::try_from(part.line_number - 1).unwrap()];
                prop_assert!(!line.is_restricted || part.kind.may_pay_restricted());
            }
            let cash: Money = Money::sum(Currency::Cny, sources.iter().filter(|s| s.kind == SourceKind::Cash).map(|s| s.balance)).unwrap();
            let cash_paid = deduction.allocations.iter().filter(|part| part.kind == SourceKind::Cash).map(|part| part.amount);
            let cash_paid = Money::sum(Currency::Cny, cash_paid).unwrap();
            prop_assert!(cash_paid.amount() <= cash.amount());
            if deduction.owed.is_positive() {
                prop_assert_eq!(cash_paid, cash);
            }
            for source in sources.iter().filter(|source| source.source_id.is_some()) {
                let parts = deduction.allocations.iter().filter(|part| part.source_id == source.source_id);
                let paid = Money::sum(Currency::Cny, parts.map(|part| part.amount)).unwrap();
                prop_assert!(paid.amount() <= source.balance.amount());
            }
        }
    }
}
