//! The one place that cuts units and rounds money.

use rust_decimal::{Decimal, RoundingStrategy};

/// Decimals of a unit quantity (DEC-1).
pub const UNIT_SCALE: u32 = 2;
/// Decimals of a bill line (DEC-2).
pub const LINE_SCALE: u32 = 2;

/// Units are not rounded up: what is past two decimals is free (MT-5, DEC-1).
#[allow(clippy::disallowed_methods)]
pub fn cut_units(exact: Decimal) -> Decimal {
    exact.round_dp_with_strategy(UNIT_SCALE, RoundingStrategy::ToZero)
}

/// Each line is rounded half up, once; the bill is the sum of its lines (DEC-2).
#[allow(clippy::disallowed_methods)]
pub fn round_line(exact: Decimal) -> Decimal {
    exact.round_dp_with_strategy(LINE_SCALE, RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn units_are_cut_and_lines_rounded_half_up() {
        assert_eq!(cut_units(decimal("12.345")), decimal("12.34"));
        assert_eq!(cut_units(decimal("0.009999")), decimal("0.00"));
        assert_eq!(round_line(decimal("5.175")), decimal("5.18"));
        assert_eq!(round_line(decimal("5.165")), decimal("5.17"), "half up, not to even");
        assert_eq!(round_line(decimal("5.1749999")), decimal("5.17"));
    }
}
