//! Prices and quantities from the wire: one strict parser each.

use chassis::money::{Currency, parse_decimal};
use chassis::site::SiteClass;
use chassis::wire::{Violations, is_word};
use rust_decimal::Decimal;
use tallystick_proto::billing::v1 as wire;

use crate::domain::price_book::{BookKey, PriceEntry};
use crate::domain::rating::{PRICE_LIMIT, PRICE_SCALE_MAX, Quantity};

/// Entries of one publication.
pub const ENTRIES_MAX: usize = 2_000;
/// Quantities of one quote.
pub const QUANTITIES_MAX: usize = 1_000;
const RETENTION_DAYS_MAX: i32 = 3_600;
const UNIT_EXPONENT_MAX: u32 = 12;

pub fn book_key(violations: &mut Violations, currency: &str, site_class: i32) -> Option<BookKey> {
    let currency = violations.parse::<Currency>("currency_code", currency);
    let site_class = violations.check("site_class", SiteClass::from_wire(site_class));
    Some(BookKey { currency: currency?, site_class: site_class? })
}

fn item(violations: &mut Violations, field: &str, text: &str) -> Option<String> {
    let fits = is_word(text, 1, 64) && !text.contains('-');
    let problem = "must be 1 to 64 of lower-case letters, digits, \"_\"";
    violations.check(format!("{field}.item"), fits.then(|| text.to_owned()).ok_or(problem))
}

fn retention(violations: &mut Violations, field: &str, days: i32) -> Option<i32> {
    let fits = (0..=RETENTION_DAYS_MAX).contains(&days);
    let problem = format!("must be 0 to {RETENTION_DAYS_MAX}");
    violations.check(format!("{field}.retention_days"), fits.then_some(days).ok_or(problem))
}

fn unit_size(text: &str) -> Result<Decimal, &'static str> {
    let problem = "must be a power of ten from 1 to 1000000000000";
    let value = parse_decimal(text).map_err(|_| problem)?;
    let powers = (0..=UNIT_EXPONENT_MAX).map(|exponent| Decimal::from(10_u64.pow(exponent)));
    powers.into_iter().find(|power| *power == value).ok_or(problem)
}

fn unit_price(text: &str) -> Result<Decimal, &'static str> {
    let problem = "must be from 0 to below 100000, with at most 6 decimals";
    let value = parse_decimal(text).map_err(|_| problem)?.normalize();
    let fits = value >= Decimal::ZERO && value < PRICE_LIMIT && value.scale() <= PRICE_SCALE_MAX;
    fits.then_some(value).ok_or(problem)
}

/// The entries of a publication, all violations named.
pub fn entries(violations: &mut Violations, entries: &[wire::PriceEntry]) -> Option<Vec<PriceEntry>> {
    if !(1..=ENTRIES_MAX).contains(&entries.len()) {
        violations.add("entries", format!("must be 1 to {ENTRIES_MAX}, and are {}", entries.len()));
        return None;
    }
    let parsed: Vec<_> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| price_entry(violations, &format!("entries[{index}]"), entry))
        .collect();
    parsed.into_iter().collect()
}

fn price_entry(violations: &mut Violations, field: &str, entry: &wire::PriceEntry) -> Option<PriceEntry> {
    let item = item(violations, field, &entry.item);
    let retention_days = retention(violations, field, entry.retention_days);
    let unit_size = violations.check(format!("{field}.unit_size"), unit_size(&entry.unit_size));
    let unit_of = violations.text(&format!("{field}.unit_of"), &entry.unit_of, 32);
    let unit_price = violations.check(format!("{field}.unit_price"), unit_price(&entry.unit_price));
    let from = violations.date(&format!("{field}.start_date"), entry.start_date.as_ref());
    let until = match &entry.end_date {
        None => Some(None),
        Some(date) => violations.date(&format!("{field}.end_date"), Some(date)).map(Some),
    };
    let (from, until) = (from?, until?);
    if until.is_some_and(|until| until <= from) {
        violations.add(format!("{field}.end_date"), "must be after start_date");
    }
    Some(PriceEntry {
        item: item?,
        retention_days: retention_days?,
        unit_size: unit_size?,
        unit_of: unit_of?,
        unit_price: unit_price?,
        effective_from: from,
        effective_until: until,
    })
}

/// The quantities of a quote, all violations named.
pub fn quantities(violations: &mut Violations, quantities: &[wire::QuoteQuantity]) -> Option<Vec<Quantity>> {
    if !(1..=QUANTITIES_MAX).contains(&quantities.len()) {
        violations.add("quantities", format!("must be 1 to {QUANTITIES_MAX}, and are {}", quantities.len()));
        return None;
    }
    let parsed: Vec<_> = quantities
        .iter()
        .enumerate()
        .map(|(index, quantity)| quote_quantity(violations, &format!("quantities[{index}]"), quantity))
        .collect();
    parsed.into_iter().collect()
}

fn quote_quantity(
    violations: &mut Violations,
    field: &str,
    quantity: &wire::QuoteQuantity,
) -> Option<Quantity> {
    let item = item(violations, field, &quantity.item);
    let retention_days = retention(violations, field, quantity.retention_days);
    let is_dimension = is_word(&quantity.dimension, 0, 64);
    if !is_dimension {
        violations.add(
            format!("{field}.dimension"),
            "must be at most 64 of lower-case letters, digits, \"_\", \"-\"",
        );
    }
    let amount = parse_decimal(&quantity.quantity).ok().map(|value| value.normalize());
    let amount = amount.filter(|value| *value >= Decimal::ZERO && value.scale() <= 2);
    let problem = "must be a decimal from 0 to below 10^18, with at most 2 places";
    let amount = violations.check(format!("{field}.quantity"), amount.ok_or(problem));
    Some(Quantity {
        item: item?,
        dimension: quantity.dimension.clone(),
        retention_days: retention_days?,
        quantity: amount?,
    })
}
