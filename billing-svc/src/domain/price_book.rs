//! Prices by item, retention and billing day, and what a publication may do to them (DEC-18).

use chassis::civil::UsageDate;
use chassis::money::Currency;
use chassis::site::SiteClass;
use rust_decimal::Decimal;
use time::OffsetDateTime;

/// Which of the four books (REG-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BookKey {
    /// In what.
    pub currency: Currency,
    /// For which sites.
    pub site_class: SiteClass,
}

/// A book.
#[derive(Debug, Clone)]
pub struct PriceBook {
    /// Which.
    pub key: BookKey,
    /// The number of its newest publication.
    pub version: i32,
    /// How many entries it has.
    pub entry_count: i32,
    /// When the newest publication was made.
    pub published_at: OffsetDateTime,
}

/// A price over a range of billing days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceEntry {
    /// The billing item.
    pub item: String,
    /// The retention that it is the price of; 0 for an item with one price.
    pub retention_days: i32,
    /// Own units per priced unit.
    pub unit_size: Decimal,
    /// The own unit, in words.
    pub unit_of: String,
    /// Per priced unit and day.
    pub unit_price: Decimal,
    /// The first day.
    pub effective_from: UsageDate,
    /// The day after the last.
    pub effective_until: Option<UsageDate>,
}

impl PriceEntry {
    fn same_place(&self, other: &Self) -> bool {
        self.item == other.item && self.retention_days == other.retention_days
    }

    fn overlaps(&self, other: &Self) -> bool {
        let before = |until: Option<UsageDate>, from: UsageDate| until.is_some_and(|until| until <= from);
        !before(self.effective_until, other.effective_from)
            && !before(other.effective_until, self.effective_from)
    }
}

/// The prices of one book on one day.
#[derive(Debug, Clone, Default)]
pub struct Prices(Vec<PriceEntry>);

impl Prices {
    /// Of these entries, which all hold on the day.
    pub fn new(entries: Vec<PriceEntry>) -> Self {
        Self(entries)
    }

    /// The price at a retention; an item with one price has it at every retention.
    pub fn find(&self, item: &str, retention_days: i32) -> Option<&PriceEntry> {
        let at = |days: i32| self.0.iter().find(|entry| entry.item == item && entry.retention_days == days);
        at(retention_days).or_else(|| at(0))
    }
}

/// What a publication does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Open entries that end where a new one begins, with their new end.
    pub ended: Vec<PriceEntry>,
    /// New entries.
    pub added: Vec<PriceEntry>,
}

/// A new entry that cannot be, by its index, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProblem {
    /// Its place in the publication.
    pub index: usize,
    /// Why.
    pub problem: String,
}

/// The last day of which it is certain what a book sells: the one that workspace-svc was told of, even when it has not begun by this process's clock.
pub fn last_certain_day(today: UsageDate, told: Option<UsageDate>) -> UsageDate {
    told.map_or(today, |told| told.max(today))
}

/// Plans a publication. The first of a book may name past days; a later one begins after the last certain day, and ends the open
/// entry of the same item and retention where it begins.
pub fn plan_publication(
    existing: &[PriceEntry],
    new: Vec<PriceEntry>,
    certain: UsageDate,
) -> Result<Publication, Vec<EntryProblem>> {
    let mut problems = Vec::new();
    let mut ended = Vec::new();
    for (index, entry) in new.iter().enumerate() {
        let mut problem = |problem: String| problems.push(EntryProblem { index, problem });
        if !existing.is_empty() && entry.effective_from <= certain {
            problem(format!("begins on {}, which is not after {certain}", entry.effective_from));
        }
        let earlier =
            new.iter().take(index).position(|other| other.same_place(entry) && other.overlaps(entry));
        if let Some(other) = earlier {
            problem(format!("overlaps entry {other} of the publication"));
        }
        for old in existing.iter().filter(|old| old.same_place(entry) && old.overlaps(entry)) {
            if old.effective_until.is_none() && old.effective_from < entry.effective_from {
                ended.push(PriceEntry { effective_until: Some(entry.effective_from), ..old.clone() });
            } else {
                problem(format!("overlaps the published entry from {}", old.effective_from));
            }
        }
    }
    // Of several new entries that follow an open one, the first ends it.
    ended.sort_by(|a, b| {
        (&a.item, a.retention_days, a.effective_until).cmp(&(&b.item, b.retention_days, b.effective_until))
    });
    ended.dedup_by(|later, first| later.same_place(first) && later.effective_from == first.effective_from);
    if problems.is_empty() { Ok(Publication { ended, added: new }) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(item: &str, from: &str, until: Option<&str>) -> PriceEntry {
        PriceEntry {
            item: item.to_owned(),
            retention_days: 0,
            unit_size: Decimal::ONE,
            unit_of: "thing".to_owned(),
            unit_price: Decimal::ONE,
            effective_from: from.parse().unwrap(),
            effective_until: until.map(|day| day.parse().unwrap()),
        }
    }

    fn today() -> UsageDate {
        "2026-11-24".parse().unwrap()
    }

    #[test]
    fn the_first_publication_may_name_past_days_and_a_later_one_not() {
        let past = vec![entry("a", "2022-01-01", None)];
        assert!(plan_publication(&[], past.clone(), today()).is_ok());
        let problems = plan_publication(&past, vec![entry("b", "2026-11-24", None)], today()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].problem.contains("not after"));
    }

    /// DEC-19: of two processes whose clocks differ, one may have told of a day that has not begun for the other.
    #[test]
    fn a_publication_begins_after_today_and_after_what_was_told() {
        let tomorrow = today().next();
        assert_eq!(last_certain_day(today(), None), today());
        assert_eq!(last_certain_day(tomorrow, Some(today())), tomorrow);
        assert_eq!(last_certain_day(today(), Some(tomorrow)), tomorrow);
        let open = [entry("a", "2022-01-01", None)];
        let begins = |from: UsageDate| vec![entry("b", &from.to_string(), None)];
        let problems = plan_publication(&open, begins(tomorrow), tomorrow).unwrap_err();
        let expected = "begins on 2026-11-25, which is not after 2026-11-25".to_owned();
        assert_eq!(problems, [EntryProblem { index: 0, problem: expected }]);
        assert!(plan_publication(&open, begins(tomorrow.next()), tomorrow).is_ok());
    }

    #[test]
    fn a_new_price_ends_the_open_one_where_it_begins() {
        let open = entry("a", "2022-01-01", None);
        let new = vec![entry("a", "2027-01-01", Some("2027-02-01")), entry("a", "2027-02-01", None)];
        let plan = plan_publication(&[open], new, today()).unwrap();
        assert_eq!(plan.ended, [entry("a", "2022-01-01", Some("2027-01-01"))]);
        assert_eq!(plan.added.len(), 2);
    }

    #[test]
    fn overlaps_are_named_one_by_one() {
        let new = vec![
            entry("a", "2022-01-01", None),
            entry("b", "2022-01-01", None),
            entry("a", "2023-01-01", None),
        ];
        let problems = plan_publication(&[], new, today()).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.index).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn an_item_with_one_price_has_it_at_every_retention() {
        let prices = Prices::new(vec![entry("a", "2022-01-01", None)]);
        assert!(prices.find("a", 14).is_some());
        assert!(prices.find("b", 14).is_none());
    }
}
