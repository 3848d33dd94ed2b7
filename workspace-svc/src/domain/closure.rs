//! When a workspace takes no usage.

use chassis::money::Currency;
use chassis::site::SiteClass;
use time::OffsetDateTime;

use super::sellable::Book;

/// Why it takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody pays for it (ACC-5).
    Unbound,
    /// Its owner has dissolved it (WS-9).
    Dissolved,
    /// The countdown of its lock is over (WS-4).
    Locked,
}

impl Cause {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unbound => "UNBOUND",
            Self::Dissolved => "DISSOLVED",
            Self::Locked => "LOCKED",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Unbound, Self::Dissolved, Self::Locked].into_iter().find(|cause| cause.word() == word)
    }
}

/// From when to when, for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closure {
    /// Why.
    pub cause: Cause,
    /// From when on.
    pub from: OffsetDateTime,
    /// Until when, exclusive; None while it has no end.
    pub until: Option<OffsetDateTime>,
}

impl Closure {
    /// Whether a moment is inside.
    pub fn covers(&self, moment: OffsetDateTime) -> bool {
        self.from <= moment && self.until.is_none_or(|until| moment < until)
    }
}

/// What decides whether usage of a workspace is taken.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Usage from before it was made is none.
    pub created_at: OffsetDateTime,
    /// From when on its usage is charged; before it is a trial's.
    pub commercial_from: Option<OffsetDateTime>,
    /// When it takes none.
    pub closures: Vec<Closure>,
    /// The class of its site.
    pub site_class: SiteClass,
    /// Who pays from when to when: in what.
    pub payers: Vec<(OffsetDateTime, Option<OffsetDateTime>, Currency)>,
}

impl Intake {
    /// Whether usage of a moment is refused.
    pub fn is_closed_at(&self, moment: OffsetDateTime) -> bool {
        self.closures.iter().any(|closure| closure.covers(moment))
    }

    /// Whether usage of a moment is a trial's.
    pub fn is_trial_at(&self, moment: OffsetDateTime) -> bool {
        self.commercial_from.is_none_or(|from| moment < from)
    }

    /// The book that prices usage of a moment. None: it is a trial's, or nobody pays.
    pub fn book_at(&self, moment: OffsetDateTime) -> Option<Book> {
        if self.is_trial_at(moment) {
            return None;
        }
        let pays = |(from, until, _): &&(OffsetDateTime, Option<OffsetDateTime>, Currency)| {
            *from <= moment && until.is_none_or(|until| moment < until)
        };
        let (_, _, currency) = self.payers.iter().find(pays)?;
        Some(Book { currency: *currency, site_class: self.site_class })
    }

    /// Whether a day that is sealed is over for it: usage from before it was dissolved or locked for good is taken only until then.
    pub fn refuses_late(&self, now: OffsetDateTime) -> bool {
        let final_now = |closure: &&Closure| closure.cause != Cause::Unbound && closure.covers(now);
        self.closures.iter().find(final_now).is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    /// A trial that was never closed.
    pub fn taken(created_at: OffsetDateTime) -> Intake {
        Intake {
            created_at,
            commercial_from: None,
            closures: Vec::new(),
            site_class: SiteClass::China,
            payers: Vec::new(),
        }
    }

    /// DEC-19: what a trial uses has no price, and neither has what nobody pays for.
    #[test]
    fn the_book_is_the_one_of_the_payer_of_the_moment() {
        let from = datetime!(2026-11-24 10:00 UTC);
        let until = from + Duration::DAY;
        let payers = vec![(from, Some(until), Currency::Cny), (until, None, Currency::Usd)];
        let intake = Intake { commercial_from: Some(from), payers, ..taken(from) };
        let currency = |moment| intake.book_at(moment).map(|book| book.currency);
        assert_eq!(currency(from - Duration::MICROSECOND), None);
        assert_eq!(currency(from), Some(Currency::Cny));
        assert_eq!(currency(until - Duration::MICROSECOND), Some(Currency::Cny));
        assert_eq!(currency(until), Some(Currency::Usd));
        assert_eq!(Intake { commercial_from: Some(from), ..taken(from) }.book_at(from), None);
    }

    #[test]
    fn usage_is_refused_inside_a_closure_and_taken_at_its_end() {
        let from = datetime!(2026-11-24 10:30 UTC);
        let closure = Closure { cause: Cause::Dissolved, from, until: Some(from + Duration::hours(2)) };
        let intake = Intake { closures: vec![closure], ..taken(from - Duration::DAY) };
        assert!(!intake.is_closed_at(from - Duration::MICROSECOND));
        assert!(intake.is_closed_at(from));
        assert!(!intake.is_closed_at(from + Duration::hours(2)));
        assert!(intake.refuses_late(from) && !intake.refuses_late(from + Duration::hours(2)));
        let unbound = Closure { cause: Cause::Unbound, until: None, ..closure };
        assert!(!Intake { closures: vec![unbound], ..intake }.refuses_late(from));
    }

    #[test]
    fn usage_before_the_commercial_hour_is_a_trials() {
        let from = datetime!(2026-11-24 10:00 UTC);
        let intake = |commercial_from| Intake { commercial_from, ..taken(from) };
        assert!(intake(None).is_trial_at(from));
        assert!(intake(Some(from)).is_trial_at(from - Duration::MICROSECOND));
        assert!(!intake(Some(from)).is_trial_at(from));
    }
}
