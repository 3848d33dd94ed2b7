//! What the price books sell (DEC-19).

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::money::Currency;
use chassis::site::SiteClass;

/// A price book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Book {
    /// In what.
    pub currency: Currency,
    /// For which sites.
    pub site_class: SiteClass,
}

/// An item that a book sells over a range of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SellableItem {
    /// The billing item.
    pub item: String,
    /// At which retention; 0 for an item with one price.
    pub retention_days: i32,
    /// The first day.
    pub effective_from: UsageDate,
    /// The day after the last.
    pub effective_until: Option<UsageDate>,
}

type Range = (UsageDate, Option<UsageDate>);

/// What is known of a book.
#[derive(Debug, Clone)]
struct Assortment {
    book: Book,
    last_date: UsageDate,
    items: HashMap<String, Vec<Range>>,
}

/// All books that are known, a handful.
#[derive(Debug, Clone, Default)]
pub struct Sellables(Vec<Assortment>);

impl Sellables {
    /// Of these books, each with the last day for which it is certain, and what they sell.
    pub fn new(
        books: impl IntoIterator<Item = (Book, UsageDate)>,
        items: impl IntoIterator<Item = (Book, SellableItem)>,
    ) -> Self {
        let known = |(book, last_date)| (book, Assortment { book, last_date, items: HashMap::new() });
        let mut known: HashMap<Book, Assortment> = books.into_iter().map(known).collect();
        for (book, item) in items {
            if let Some(assortment) = known.get_mut(&book) {
                let ranges = assortment.items.entry(item.item).or_default();
                ranges.push((item.effective_from, item.effective_until));
            }
        }
        Self(known.into_values().collect())
    }

    /// Whether it is certain that the book does not sell the item on the day, at any retention. Of a book that is not known nothing is.
    pub fn is_unsold(&self, book: Book, item: &str, day: UsageDate) -> bool {
        let sold = |(from, until): &Range| *from <= day && until.is_none_or(|until| day < until);
        let known = self.0.iter().find(|known| known.book == book && day <= known.last_date);
        known.is_some_and(|known| !known.items.get(item).is_some_and(|ranges| ranges.iter().any(sold)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> UsageDate {
        text.parse().unwrap()
    }

    /// DEC-19: what a known book does not sell on the day is unsold; of an unknown book nothing is known to be.
    #[test]
    fn an_item_is_unsold_where_a_known_book_has_no_entry_for_its_day() {
        let known = Book { currency: Currency::Cny, site_class: SiteClass::China };
        let unknown = Book { currency: Currency::Usd, ..known };
        let sold = |item: &str, retention_days, from, until: Option<&str>| {
            let (effective_from, effective_until) = (day(from), until.map(day));
            (known, SellableItem { item: item.to_owned(), retention_days, effective_from, effective_until })
        };
        let items = [
            sold("log", 7, "2026-01-01", Some("2026-02-01")),
            sold("log", 14, "2026-03-01", None),
            sold("sms", 0, "2026-01-01", None),
        ];
        let sellables = Sellables::new([(known, day("2026-03-01"))], items);
        for (item, on, unsold) in [
            ("sms", "2025-12-31", true),
            ("sms", "2026-01-01", false),
            ("log", "2026-01-31", false),
            ("log", "2026-02-01", true),
            ("log", "2026-03-01", false),
            ("report", "2026-03-01", true),
            ("report", "2026-03-02", false),
        ] {
            assert_eq!(sellables.is_unsold(known, item, day(on)), unsold, "{item} on {on}");
            assert!(!sellables.is_unsold(unknown, item, day(on)));
        }
    }
}
