//! Prices quantities at the prices of any day; nothing is stored.

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::money::Money;

use super::App;
use crate::domain::price_book::{BookKey, Prices};
use crate::domain::rating::{self, BillLine, Quantity, Unratable};
use crate::store;

/// Why there is no quote.
#[derive(Debug)]
pub enum QuoteRejection {
    /// The book has no price on that day.
    NoBook(BookKey),
    /// A quantity passes what is kept exactly, by its index.
    OutOfBounds(usize),
}

/// What it would cost.
#[derive(Debug)]
pub struct Quoted {
    /// As a bill would have them.
    pub lines: Vec<BillLine>,
    /// Their sum.
    pub total: Money,
    /// What is not sold on that day.
    pub unsold: Vec<Quantity>,
}

/// Prices.
pub async fn quote_usage(
    app: &App,
    key: BookKey,
    day: UsageDate,
    quantities: Vec<Quantity>,
) -> Result<Quoted, Failure<QuoteRejection>> {
    let entries = store::price_books::entries_on(&mut *app.pool.acquire().await?, key, day).await?;
    if entries.is_empty() {
        return Err(Failure::Rejected(QuoteRejection::NoBook(key)));
    }
    let prices = Prices::new(entries);
    let mut lines = Vec::new();
    let mut unsold = Vec::new();
    for (index, quantity) in quantities.iter().enumerate() {
        match rating::rate_line(quantity, &prices, key.currency) {
            Ok(line) => lines.push(line),
            Err(Unratable::NoPrice(quantity)) => unsold.push(quantity),
            Err(Unratable::OutOfBounds(_)) => {
                return Err(Failure::Rejected(QuoteRejection::OutOfBounds(index)));
            }
        }
    }
    rating::sort_lines(&mut lines);
    let total = rating::total(&lines, key.currency);
    let total = total
        .map_err(|_| Failure::Rejected(QuoteRejection::OutOfBounds(quantities.len().saturating_sub(1))))?;
    Ok(Quoted { lines, total, unsold })
}
