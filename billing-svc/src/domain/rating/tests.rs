use proptest::prelude::*;

use super::*;
use crate::domain::price_book::PriceEntry;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn entry(item: &str, retention_days: i32, unit_size: &str, unit_price: &str) -> PriceEntry {
    PriceEntry {
        item: item.to_owned(),
        retention_days,
        unit_size: decimal(unit_size),
        unit_of: "thing".to_owned(),
        unit_price: decimal(unit_price),
        effective_from: "2022-06-06".parse().unwrap(),
        effective_until: None,
    }
}

fn quantity(item: &str, retention_days: i32, quantity: &str) -> Quantity {
    Quantity { item: item.to_owned(), dimension: String::new(), retention_days, quantity: decimal(quantity) }
}

fn prices() -> Prices {
    Prices::new(vec![
        entry("timeseries", 3, "1000", "0.6"),
        entry("timeseries", 7, "1000", "0.7"),
        entry("log", 14, "1000000", "1.5"),
        entry("sms", 0, "10", "1"),
        entry("trigger", 0, "10000", "1"),
    ])
}

#[test]
fn limits_are_the_documented_powers_of_ten() {
    assert_eq!(QUANTITY_LIMIT, decimal("1000000000000000000"));
    assert_eq!(UNITS_LIMIT, decimal("10000000000000"));
    assert_eq!(LIST_AMOUNT_LIMIT, decimal("1000000000000"));
    assert_eq!(PRICE_LIMIT, decimal("100000"));
}

#[test]
fn units_are_cut_before_the_price_and_the_line_is_rounded_after_it() {
    let line = rate_line(&quantity("timeseries", 7, "12345"), &prices(), Currency::Cny).unwrap();
    assert_eq!((line.units, line.list_amount), (decimal("12.34"), decimal("8.638")));
    assert_eq!(line.amount.printed(), "8.64");
    let free = rate_line(&quantity("log", 14, "9999"), &prices(), Currency::Cny).unwrap();
    assert_eq!(free.amount.printed(), "0.00", "less than a hundredth of a unit is free");
}

#[test]
fn a_quantity_without_a_price_is_named_never_free() {
    let wanted = quantity("pipeline", 0, "1");
    assert_eq!(rate_line(&wanted, &prices(), Currency::Cny), Err(Unratable::NoPrice(wanted)));
    let other = quantity("log", 60, "1");
    assert_eq!(rate_line(&other, &prices(), Currency::Cny), Err(Unratable::NoPrice(other)));
}

#[test]
fn restricted_lines_stand_last() {
    let quantities =
        [quantity("sms", 0, "30"), quantity("trigger", 0, "20000"), quantity("timeseries", 3, "1000")];
    let lines = rate(&quantities, &prices(), Currency::Cny).unwrap();
    let items: Vec<_> = lines.iter().map(|line| line.item.as_str()).collect();
    assert_eq!(items, ["timeseries", "trigger", "sms"]);
    assert_eq!(total(&lines, Currency::Cny).unwrap().printed(), "5.60");
}

#[test]
fn what_passes_a_bound_is_refused() {
    let one = Prices::new(vec![entry("x", 0, "1", "99999.999999")]);
    for text in ["1000000000000000000", "10000000000000", "99999999.99"] {
        let wanted = quantity("x", 0, text);
        assert_eq!(rate_line(&wanted, &one, Currency::Cny), Err(Unratable::OutOfBounds(wanted)), "{text}");
    }
    let negative = quantity("x", 0, "-1");
    assert_eq!(rate_line(&negative, &one, Currency::Cny), Err(Unratable::OutOfBounds(negative)));
}

/// The same rule in integers: a second opinion that shares no code with the first.
fn reference(quantity_hundredths: i128, size_exponent: u32, price_millionths: i128) -> (i128, i128, i128) {
    let units_hundredths = quantity_hundredths / 10_i128.pow(size_exponent);
    let list_hundred_millionths = units_hundredths * price_millionths;
    let cents = (list_hundred_millionths + 500_000) / 1_000_000;
    (units_hundredths, list_hundred_millionths, cents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// DEC-52: exact at and below every bound, equal to the integers to the last digit.
    #[test]
    fn products_at_the_bounds_are_exact(
        quantity_hundredths in prop_oneof![
            0_i64..=1_000_000,
            9_000_000_000_000_000_000_i64..=9_223_372_036_854_775_807,
            Just(999_999_999_999_999_i64),
        ],
        size_exponent in 0_u32..=12,
        price_millionths in prop_oneof![0_i64..=10, 1_i64..100_000_000_000, Just(99_999_999_999_i64)],
    ) {
        let quantity = Quantity {
            item: "x".into(),
            dimension: String::new(),
            retention_days: 0,
            quantity: Decimal::new(quantity_hundredths, 2),
        };
        let price = PriceEntry {
            unit_size: Decimal::from_i128_with_scale(10_i128.pow(size_exponent), 0),
            unit_price: Decimal::new(price_millionths, 6),
            ..entry("x", 0, "1", "1")
        };
        let (units, list, cents) = reference(i128::from(quantity_hundredths), size_exponent, i128::from(price_millionths));
        let rated = rate_line(&quantity, &Prices::new(vec![price]), Currency::Usd);
        let fits = units < 10_i128.pow(15) && list < 10_i128.pow(20);
        match rated {
            Ok(line) => {
                prop_assert!(fits);
                prop_assert_eq!(line.units, Decimal::from_i128_with_scale(units, 2));
                prop_assert_eq!(line.list_amount, Decimal::from_i128_with_scale(list, 8));
                prop_assert_eq!(line.amount.amount(), Decimal::from_i128_with_scale(cents, 2));
            }
            Err(Unratable::OutOfBounds(_)) => prop_assert!(!fits),
            Err(Unratable::NoPrice(_)) => prop_assert!(false),
        }
    }

    /// The total is the sum of the rounded lines, whatever the order they came in.
    #[test]
    fn the_total_is_the_sum_of_the_lines(amounts in proptest::collection::vec(0_i64..1_000_000_000, 1..40)) {
        let items = ["timeseries", "log", "sms", "trigger"];
        let days = [7, 14, 0, 0];
        let mut quantities: Vec<_> = amounts
            .iter()
            .enumerate()
            .map(|(i, n)| Quantity {
                dimension: format!("d{i}"),
                ..quantity(items[i % 4], days[i % 4], &n.to_string())
            })
            .collect();
        let lines = rate(&quantities, &prices(), Currency::Cny).unwrap();
        let sum: Decimal = lines.iter().map(|line| line.amount.amount()).sum();
        prop_assert_eq!(total(&lines, Currency::Cny).unwrap().amount(), sum);
        quantities.reverse();
        prop_assert_eq!(rate(&quantities, &prices(), Currency::Cny).unwrap(), lines);
    }
}
