//! Money: exact decimals of one currency. What is not exact is refused, and nothing here rounds.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

/// A currency that is sold in (DEC-53).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Renminbi.
    Cny,
    /// US dollar.
    Usd,
}

/// A string that is no currency of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"CNY\" or \"USD\"")]
pub struct InvalidCurrency;

impl Currency {
    /// The ISO 4217 code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cny => "CNY",
            Self::Usd => "USD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        match text {
            "CNY" => Ok(Self::Cny),
            "USD" => Ok(Self::Usd),
            _ => Err(InvalidCurrency),
        }
    }
}

/// Decimals of an amount of money, in both currencies.
pub const MONEY_SCALE: u32 = 2;

/// Amounts stay below 10^15 (DEC-52).
pub const MONEY_LIMIT: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// What can be wrong with money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// More decimals than the currency has.
    #[error("must have at most 2 decimals")]
    Scale,
    /// 10^15 or more, or less than -10^15.
    #[error("must be below 1000000000000000")]
    Range,
    /// Two currencies in one sum.
    #[error("must be of one currency")]
    Currency,
}

/// An exact amount of one currency, at most 2 decimals, below 10^15 in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// Checks scale and range.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, InvalidMoney> {
        let amount = amount.normalize();
        if amount.scale() > MONEY_SCALE {
            Err(InvalidMoney::Scale)
        } else if amount.abs() >= MONEY_LIMIT {
            Err(InvalidMoney::Range)
        } else {
            Ok(Self { amount, currency })
        }
    }

    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { amount: Decimal::ZERO, currency }
    }

    /// How much.
    pub const fn amount(self) -> Decimal {
        self.amount
    }

    /// Of what.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Neither a debt nor a credit.
    pub fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// More than nothing.
    pub fn is_positive(self) -> bool {
        self.amount > Decimal::ZERO
    }

    /// Less than nothing.
    pub fn is_negative(self) -> bool {
        self.amount < Decimal::ZERO
    }

    /// The sum. Both are below 10^15, so the addition itself is exact.
    pub fn plus(self, other: Self) -> Result<Self, InvalidMoney> {
        self.same_currency(other)?;
        Self::new(self.amount + other.amount, self.currency)
    }

    /// The difference.
    pub fn minus(self, other: Self) -> Result<Self, InvalidMoney> {
        self.same_currency(other)?;
        Self::new(self.amount - other.amount, self.currency)
    }

    /// The smaller of two.
    pub fn min(self, other: Self) -> Result<Self, InvalidMoney> {
        self.same_currency(other)?;
        Ok(if other.amount < self.amount { other } else { self })
    }

    /// The sum of many.
    pub fn sum(currency: Currency, parts: impl IntoIterator<Item = Self>) -> Result<Self, InvalidMoney> {
        parts.into_iter().try_fold(Self::zero(currency), Self::plus)
    }

    fn same_currency(self, other: Self) -> Result<(), InvalidMoney> {
        if self.currency == other.currency { Ok(()) } else { Err(InvalidMoney::Currency) }
    }
}

/// With both decimals: `13.40 CNY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.printed(), self.currency)
    }
}

impl Money {
    /// The amount at the currency's scale: "13.40".
    pub fn printed(self) -> String {
        format!("{:.2}", self.amount)
    }
}

/// A decimal string that breaks the grammar of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a decimal: optional minus, digits, at most one point; no plus, exponent, leading zeros or negative zero; \
     at most 18 digits before and 10 after the point"
)]
pub struct InvalidDecimal;

/// The one parser of decimal strings. Everything it lets through is exact.
pub fn parse_decimal(text: &str) -> Result<Decimal, InvalidDecimal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(InvalidDecimal),
        Some((whole, fraction)) => (whole, fraction),
        None => (digits, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 10 || leading_zero {
        return Err(InvalidDecimal);
    }
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(InvalidDecimal);
    }
    let value = Decimal::from_str_exact(text).map_err(|_| InvalidDecimal)?;
    if negative && value.is_zero() { Err(InvalidDecimal) } else { Ok(value) }
}

/// Prints a decimal without trailing zeros: what `parse_decimal` reads back.
pub fn print_decimal(value: Decimal) -> String {
    value.normalize().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_of_money_is_ten_to_the_fifteenth() {
        assert_eq!(MONEY_LIMIT, Decimal::from(1_000_000_000_000_000_i64));
        assert_eq!(Money::new(MONEY_LIMIT, Currency::Cny), Err(InvalidMoney::Range));
        let largest = parse_decimal("999999999999999.99").unwrap();
        assert!(Money::new(largest, Currency::Cny).is_ok());
    }

    #[test]
    fn currencies_never_mix() {
        let yuan = Money::new(Decimal::ONE, Currency::Cny).unwrap();
        let dollar = Money::new(Decimal::ONE, Currency::Usd).unwrap();
        assert_eq!(yuan.plus(dollar), Err(InvalidMoney::Currency));
        assert_eq!(yuan.minus(dollar), Err(InvalidMoney::Currency));
        assert_eq!(yuan.min(dollar), Err(InvalidMoney::Currency));
    }

    #[test]
    fn the_grammar_refuses_what_is_not_plain() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1E3",
            "NaN",
            "inf",
            "-0",
            "-0.00",
            "00",
            "01",
            "1,0",
            " 1",
            "1 ",
            "0x1",
            "1234567890123456789",
            "0.12345678901",
            "1.2.3",
            "--1",
            "１",
        ] {
            assert_eq!(parse_decimal(text), Err(InvalidDecimal), "{text:?}");
        }
        for text in ["0", "0.00", "-3.25", "999999999999999999", "0.0000000001"] {
            assert!(parse_decimal(text).is_ok(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_equal(units in -10_i64.pow(17)..10_i64.pow(17), scale in 0_u32..=10) {
            let value = Decimal::new(units, scale);
            prop_assert_eq!(parse_decimal(&print_decimal(value)), Ok(value));
        }

        #[test]
        fn sums_are_exact_in_cents(cents in proptest::collection::vec(-10_i64.pow(12)..10_i64.pow(12), 0..50)) {
            let parts = cents.iter().map(|&c| Money::new(Decimal::new(c, 2), Currency::Cny).unwrap());
            let sum = Money::sum(Currency::Cny, parts).unwrap();
            prop_assert_eq!(sum.amount(), Decimal::new(cents.iter().sum(), 2));
        }
    }
}
