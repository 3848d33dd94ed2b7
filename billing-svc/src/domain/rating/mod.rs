//! Prices a day: pure functions from quantities and prices to lines (MT-6, DEC-1, DEC-2, DEC-52). Bounds are checked before
//! anything is multiplied, so that every product is exact and rounding happens in one place, `rounding`.

pub mod rounding;

use chassis::money::{Currency, InvalidMoney, Money};
use rust_decimal::Decimal;

use self::rounding::{cut_units, round_line};
use super::price_book::Prices;

/// The rules by which this code rates; a bill names it.
pub const RULE_SET_VERSION: i32 = 1;

/// Quantities stay below 10^18 with at most 2 places.
const QUANTITY_LIMIT: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);
/// Units stay below 10^13.
const UNITS_LIMIT: Decimal = Decimal::from_parts(1_316_134_912, 2_328, 0, false, 0);
/// List amounts stay below 10^12.
const LIST_AMOUNT_LIMIT: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);
/// Prices stay below 10^5 with at most 6 places.
pub const PRICE_LIMIT: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);
/// Decimals of a price.
pub const PRICE_SCALE_MAX: u32 = 6;
const QUANTITY_SCALE_MAX: u32 = 2;

/// Items in the order of a bill (MT-8).
const ITEM_ORDER: [&str; 18] = [
    "timeseries",
    "log",
    "log_ingest",
    "forward_external",
    "forward_internal",
    "network_host",
    "trace",
    "profile",
    "pv",
    "session_replay",
    "trigger",
    "scan",
    "report",
    "pipeline",
    "datakit",
    "backup_log",
    "sms",
    "synthetic",
];

/// SMS and synthetic tests, which vouchers may not pay (ST-3).
pub fn is_restricted(item: &str) -> bool {
    matches!(item, "sms" | "synthetic")
}

/// A quantity to price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// The billing item.
    pub item: String,
    /// The log index or forwarding rule.
    pub dimension: String,
    /// The retention that it is under; 0 for an item with one price.
    pub retention_days: i32,
    /// How much, in the item's own unit.
    pub quantity: Decimal,
}

/// A priced line, with everything that its amount follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// The billing item.
    pub item: String,
    /// The log index or forwarding rule.
    pub dimension: String,
    /// The retention.
    pub retention_days: i32,
    /// How much.
    pub quantity: Decimal,
    /// Own units per priced unit.
    pub unit_size: Decimal,
    /// Priced units, cut to 2 decimals.
    pub units: Decimal,
    /// Per priced unit.
    pub unit_price: Decimal,
    /// The factor of the account's discount.
    pub discount: Decimal,
    /// units x unit_price, exact.
    pub list_amount: Decimal,
    /// list_amount x discount, rounded.
    pub amount: Money,
    /// Vouchers may not pay it.
    pub is_restricted: bool,
}

/// Why a quantity has no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unratable {
    /// The item is not sold at this retention on this day; it is never priced at zero (DEC-19).
    NoPrice(Quantity),
    /// An amount passes what is kept exactly (DEC-52).
    OutOfBounds(Quantity),
}

/// Prices one quantity.
pub fn rate_line(quantity: &Quantity, prices: &Prices, currency: Currency) -> Result<BillLine, Unratable> {
    let beyond = || Unratable::OutOfBounds(quantity.clone());
    let price = prices
        .find(&quantity.item, quantity.retention_days)
        .ok_or_else(|| Unratable::NoPrice(quantity.clone()))?;
    let amount = quantity.quantity.normalize();
    let fits = amount >= Decimal::ZERO && amount < QUANTITY_LIMIT && amount.scale() <= QUANTITY_SCALE_MAX;
    if !fits || price.unit_price >= PRICE_LIMIT || price.unit_price.normalize().scale() > PRICE_SCALE_MAX {
        return Err(beyond());
    }
    // Exact: the size is a power of ten, so that the point only moves.
    let units = cut_units(amount.checked_div(price.unit_size).ok_or_else(beyond)?);
    if units >= UNITS_LIMIT {
        return Err(beyond());
    }
    // At most 15 digits by 11: exact in 28.
    let list_amount = units.checked_mul(price.unit_price).ok_or_else(beyond)?;
    if list_amount >= LIST_AMOUNT_LIMIT {
        return Err(beyond());
    }
    let discount = Decimal::ONE;
    let payable = round_line(list_amount.checked_mul(discount).ok_or_else(beyond)?);
    Ok(BillLine {
        item: quantity.item.clone(),
        dimension: quantity.dimension.clone(),
        retention_days: quantity.retention_days,
        quantity: amount,
        unit_size: price.unit_size,
        units,
        unit_price: price.unit_price,
        discount,
        list_amount,
        amount: Money::new(payable, currency).map_err(|_| beyond())?,
        is_restricted: is_restricted(&quantity.item),
    })
}

/// Prices a day. Lines stand in the order of deduction: what vouchers may pay first, by item, dimension and retention; SMS and
/// synthetic tests last (DEC-26).
pub fn rate(
    quantities: &[Quantity],
    prices: &Prices,
    currency: Currency,
) -> Result<Vec<BillLine>, Unratable> {
    let lines: Result<Vec<_>, _> =
        quantities.iter().map(|quantity| rate_line(quantity, prices, currency)).collect();
    let mut lines = lines?;
    sort_lines(&mut lines);
    Ok(lines)
}

/// Puts lines in the order of a bill.
pub fn sort_lines(lines: &mut [BillLine]) {
    let place = |item: &str| ITEM_ORDER.iter().position(|known| *known == item).unwrap_or(ITEM_ORDER.len());
    lines.sort_by(|a, b| {
        let key = |line: &BillLine| (line.is_restricted, place(&line.item));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.item.cmp(&b.item))
            .then_with(|| a.dimension.cmp(&b.dimension))
            .then_with(|| a.retention_days.cmp(&b.retention_days))
    });
}

/// The sum of the lines.
pub fn total(lines: &[BillLine], currency: Currency) -> Result<Money, InvalidMoney> {
    Money::sum(currency, lines.iter().map(|line| line.amount))
}

#[cfg(test)]
mod tests;
