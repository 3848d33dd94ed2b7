//! Who pays for a day.

use chassis::civil::UsageDate;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::Currency;
use time::OffsetDateTime;

/// A payer, from when to when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Who pays.
    pub billing_account_id: BillingAccountId,
    /// In what.
    pub currency: Currency,
    /// From when on.
    pub effective_from: OffsetDateTime,
    /// Until when, exclusive.
    pub effective_until: Option<OffsetDateTime>,
}

/// The payer of a day is the account bound at its 24:00; if none is, the last one bound during it.
pub fn payer_of(day: UsageDate, bindings: &[Binding]) -> Option<&Binding> {
    let during = |binding: &&Binding| {
        binding.effective_from < day.end() && binding.effective_until.is_none_or(|until| until > day.start())
    };
    bindings.iter().filter(during).max_by_key(|binding| binding.effective_from)
}

/// The binding that holds at a moment, or the first that will; None when nobody pays and nobody is going to.
pub fn current_of(bindings: &[Binding], now: OffsetDateTime) -> Option<&Binding> {
    let not_over = |binding: &&Binding| binding.effective_until.is_none_or(|until| now < until);
    bindings.iter().filter(not_over).min_by_key(|binding| binding.effective_from)
}

/// When a change takes effect that was asked for already: an end that is set, or a payer that is to come.
pub fn pending_change(bindings: &[Binding], now: OffsetDateTime) -> Option<OffsetDateTime> {
    let begins = bindings.iter().map(|binding| binding.effective_from);
    let ends = bindings.iter().filter_map(|binding| binding.effective_until);
    begins.chain(ends).filter(|moment| *moment > now).min()
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use uuid::Uuid;

    use super::*;

    fn binding(account: u128, from: OffsetDateTime, until: Option<OffsetDateTime>) -> Binding {
        Binding {
            workspace_id: WorkspaceId::from_uuid(Uuid::from_u128(1)),
            billing_account_id: BillingAccountId::from_uuid(Uuid::from_u128(account)),
            currency: Currency::Cny,
            effective_from: from,
            effective_until: until,
        }
    }

    fn payer(day: UsageDate, bindings: &[Binding]) -> Option<u128> {
        payer_of(day, bindings).map(|binding| binding.billing_account_id.uuid().as_u128())
    }

    #[test]
    fn the_account_bound_at_24_00_pays() {
        let day: UsageDate = "2026-11-24".parse().unwrap();
        let next = day.end();
        let moved = [binding(1, day.start() - Duration::DAY, Some(next)), binding(2, next, None)];
        assert_eq!(payer(day, &moved), Some(1), "rebound from the next 00:00");
        assert_eq!(payer(day.next(), &moved), Some(2));
    }

    #[test]
    fn the_present_payer_is_the_one_that_holds_until_the_next_has_begun() {
        let day: UsageDate = "2026-11-24".parse().unwrap();
        let noon = day.start() + Duration::hours(12);
        let current = |bindings: &[Binding], now| {
            current_of(bindings, now).map(|binding| binding.billing_account_id.uuid().as_u128())
        };
        let moved = [binding(1, day.start(), Some(day.end())), binding(2, day.end(), None)];
        assert_eq!(current(&moved, noon), Some(1));
        assert_eq!(current(&moved, day.end()), Some(2));
        assert_eq!(pending_change(&moved, noon), Some(day.end()));
        assert_eq!(pending_change(&moved, day.end()), None);
        let begins = [binding(1, day.end(), None)];
        assert_eq!(current(&begins, noon), Some(1), "the first that will");
        let ended = [binding(1, day.start(), Some(noon))];
        assert_eq!(current(&ended, noon), None);
    }

    /// A change takes effect at the next 00:00, whatever the moment: at 00:00:00 itself the day has begun.
    #[test]
    fn a_change_never_moves_the_day_in_which_it_is_asked_for() {
        let day: UsageDate = "2026-11-24".parse().unwrap();
        for (offset, of) in [
            (Duration::DAY - Duration::SECOND, day),
            (Duration::DAY, day.next()),
            (Duration::DAY + Duration::minutes(30), day.next()),
            (Duration::DAY + Duration::HOUR, day.next()),
        ] {
            let asked = day.start() + offset;
            let from = UsageDate::of(asked).end();
            let moved = [binding(1, day.start(), Some(from)), binding(2, from, None)];
            assert_eq!(UsageDate::of(asked), of);
            assert_eq!(payer(of, &moved), Some(1), "{offset}");
            assert_eq!(payer(of.next(), &moved), Some(2), "{offset}");
        }
    }

    #[test]
    fn the_first_binding_of_a_trial_pays_the_rest_of_its_day() {
        let day: UsageDate = "2026-11-24".parse().unwrap();
        let bound = [binding(1, day.start() + Duration::hours(15), None)];
        assert_eq!(payer(day, &bound), Some(1));
        assert_eq!(payer(day.plus_days(-1), &bound), None);
    }

    #[test]
    fn the_last_account_of_a_day_pays_it_when_none_is_bound_at_its_end() {
        let day: UsageDate = "2026-11-24".parse().unwrap();
        let ended = [binding(1, day.start() - Duration::DAY, Some(day.start() + Duration::hours(9)))];
        assert_eq!(payer(day, &ended), Some(1));
        assert_eq!(payer(day.next(), &ended), None);
    }
}
