//! How incoming cash repays arrears: oldest usage day first, each repayment naming its bill; only the rest becomes balance (DEC-25).

use chassis::id::BillId;
use chassis::money::{InvalidMoney, Money};

/// A bill of which something is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Which.
    pub bill_id: BillId,
    /// What is still owed of it.
    pub remaining: Money,
}

/// Repays from an amount, in the order given. What is left over stays with the payer.
pub fn repay(amount: Money, owed: &[Owed]) -> Result<Vec<Owed>, InvalidMoney> {
    let mut left = amount;
    let mut repaid = Vec::new();
    for bill in owed {
        let part = left.min(bill.remaining)?;
        if part.is_positive() {
            left = left.minus(part)?;
            repaid.push(Owed { bill_id: bill.bill_id, remaining: part });
        }
    }
    Ok(repaid)
}

#[cfg(test)]
mod tests {
    use chassis::money::Currency;
    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;

    fn cny(cents: i64) -> Money {
        Money::new(Decimal::new(cents, 2), Currency::Cny).unwrap()
    }

    fn owed(cents: &[i64]) -> Vec<Owed> {
        let bill = |(&c, n): (&i64, u128)| Owed {
            bill_id: BillId::from_uuid(Uuid::from_u128(n)),
            remaining: cny(c),
        };
        cents.iter().zip(1..).map(bill).collect()
    }

    #[test]
    fn the_oldest_bill_is_repaid_first() {
        let repaid = repay(cny(1_500), &owed(&[1_000, 1_000, 1_000])).unwrap();
        let amounts: Vec<_> = repaid.iter().map(|part| part.remaining.printed()).collect();
        assert_eq!(amounts, ["10.00", "5.00"]);
    }

    proptest! {
        #[test]
        fn what_is_repaid_is_the_smaller_of_cash_and_debt(
            amount in 0_i64..100_000,
            bills in proptest::collection::vec(1_i64..20_000, 0..10),
        ) {
            let repaid = repay(cny(amount), &owed(&bills)).unwrap();
            let sum = Money::sum(Currency::Cny, repaid.iter().map(|part| part.remaining)).unwrap();
            prop_assert_eq!(sum, cny(amount.min(bills.iter().sum())));
        }
    }
}
