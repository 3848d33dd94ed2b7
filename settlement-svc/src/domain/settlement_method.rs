//! Which method may follow which: SM-8 as one function from facts to a refusal that names its rule, or none.

use chassis::civil::BILLING_OFFSET;
use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId};
use chassis::money::{Currency, Money};
use time::OffsetDateTime;

use super::cloud_account::{State, Subscription, Vendor};

/// Why a method was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The workspace came through a marketplace.
    Activation,
    /// Its owner or payer.
    Holder,
    /// Its owner or payer, while it was locked.
    Unlocking,
    /// The subscription has ended.
    SubscriptionEnded,
    /// An operator.
    Operator,
}

impl Cause {
    const ALL: [Self; 5] =
        [Self::Activation, Self::Holder, Self::Unlocking, Self::SubscriptionEnded, Self::Operator];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Activation => "ACTIVATION",
            Self::Holder => "HOLDER",
            Self::Unlocking => "UNLOCKING",
            Self::SubscriptionEnded => "SUBSCRIPTION_ENDED",
            Self::Operator => "OPERATOR",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }
}

/// A method, from when on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementMethod {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// From when on.
    pub effective_from: OffsetDateTime,
    /// Who paid for the workspace then.
    pub billing_account_id: BillingAccountId,
    /// None: the billing account.
    pub subscription: Option<SubscriptionId>,
    /// Why.
    pub cause: Cause,
}

/// What a workspace is to be settled by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its billing account.
    BillingAccount,
    /// A subscription of its billing account's.
    Subscription(Subscription),
}

/// Everything that a change follows from.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The subscription that settles now; None: the billing account does.
    pub current: Option<Subscription>,
    /// The method in force names a subscription of an earlier payer's: it settles nothing, and the billing account may be chosen.
    pub left_behind: bool,
    /// The marketplace that the workspace came through (SM-7).
    pub channel: Option<Vendor>,
    /// The vendor that operates its site.
    pub site_vendor: Option<Vendor>,
    /// "Any method" is on (SM-5).
    pub any_method: bool,
    /// What the payer is billed in.
    pub currency: Currency,
    /// What the payer owes; None when it owes nothing.
    pub arrears: Option<Money>,
    /// A yearly package runs (YP-2).
    pub package_runs: bool,
    /// The last change that counts (SM-3).
    pub last_counted: Option<OffsetDateTime>,
    /// Who changes.
    pub cause: Cause,
    /// When.
    pub now: OffsetDateTime,
}

/// Why a method is not changed, by rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is that already.
    Unchanged,
    /// The target's subscription is not active.
    TargetEnded(SubscriptionId),
    /// SM-7: the channel's vendor only.
    ChannelVendorOnly(Vendor),
    /// SM-4: an active subscription settles.
    SubscriptionActive(SubscriptionId),
    /// SM-5: the vendor does not fit the site.
    VendorNotAllowed(Vendor),
    /// DEC-53: another currency.
    Currency {
        /// The payer's.
        required: Currency,
        /// The channel's.
        given: Currency,
    },
    /// DEC-22: the payer owes.
    Arrears(Money),
    /// YP-2: a package runs.
    PackageRunning,
    /// SM-3: it was changed in this month.
    ThisMonth(OffsetDateTime),
}

/// Whether the change may be made. The first rule that refuses is named.
pub fn judge(facts: &Facts, target: &Target) -> Result<(), Refused> {
    let current = facts.current.as_ref();
    let unchanged = match target {
        Target::BillingAccount => current.is_none() && !facts.left_behind,
        Target::Subscription(wanted) => {
            current.is_some_and(|now| now.subscription_id == wanted.subscription_id)
        }
    };
    if unchanged {
        return Err(Refused::Unchanged);
    }
    if let Target::Subscription(wanted) = target
        && wanted.state != State::Active
    {
        return Err(Refused::TargetEnded(wanted.subscription_id));
    }
    if let Some(active) = current.filter(|current| current.state == State::Active) {
        return Err(match facts.channel {
            Some(channel) => Refused::ChannelVendorOnly(channel),
            None => Refused::SubscriptionActive(active.subscription_id),
        });
    }
    if let Target::Subscription(wanted) = target {
        judge_vendor(facts, wanted.purchase.vendor)?;
        if wanted.currency != facts.currency {
            return Err(Refused::Currency { required: facts.currency, given: wanted.currency });
        }
        if current.is_none()
            && let Some(arrears) = facts.arrears
        {
            return Err(Refused::Arrears(arrears));
        }
        if facts.package_runs {
            return Err(Refused::PackageRunning);
        }
    }
    match facts.last_counted.filter(|last| facts.cause == Cause::Holder && same_month(*last, facts.now)) {
        Some(last) => Err(Refused::ThisMonth(last)),
        None => Ok(()),
    }
}

fn judge_vendor(facts: &Facts, vendor: Vendor) -> Result<(), Refused> {
    match facts.channel {
        Some(channel) if channel != vendor => Err(Refused::ChannelVendorOnly(channel)),
        Some(_) => Ok(()),
        None if facts.any_method || facts.site_vendor == Some(vendor) => Ok(()),
        None => Err(Refused::VendorNotAllowed(vendor)),
    }
}

/// Calendar months are those of billing days.
fn same_month(one: OffsetDateTime, other: OffsetDateTime) -> bool {
    let month = |moment: OffsetDateTime| {
        let local = moment.to_offset(BILLING_OFFSET);
        (local.year(), local.month())
    };
    month(one) == month(other)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::cloud_account::Purchase;

    const NOW: OffsetDateTime = datetime!(2026-11-26 02:00 UTC);

    fn subscription(number: u128, vendor: Vendor, state: State) -> Subscription {
        Subscription {
            subscription_id: SubscriptionId::from_uuid(Uuid::from_u128(number)),
            purchase: Purchase { vendor, cloud_account_id: "1".into(), instance_id: number.to_string() },
            currency: Currency::Cny,
            state,
            billing_account_id: None,
            created_at: NOW,
            ended_at: None,
        }
    }

    fn facts(current: Option<Subscription>) -> Facts {
        Facts {
            current,
            left_behind: false,
            channel: None,
            site_vendor: Some(Vendor::AlibabaCloud),
            any_method: false,
            currency: Currency::Cny,
            arrears: None,
            package_runs: false,
            last_counted: None,
            cause: Cause::Holder,
            now: NOW,
        }
    }

    fn fitting() -> Target {
        Target::Subscription(subscription(7, Vendor::AlibabaCloud, State::Active))
    }

    fn other_vendor() -> Target {
        Target::Subscription(subscription(8, Vendor::Aws, State::Active))
    }

    /// SM-8, row by row: billing account, a fitting vendor, another vendor.
    #[test]
    fn the_matrix_of_transitions_holds() {
        let active = subscription(1, Vendor::AlibabaCloud, State::Active);
        let ended = subscription(1, Vendor::AlibabaCloud, State::Ended);
        let active_refused = Err(Refused::SubscriptionActive(active.subscription_id));
        let vendor_refused = Err(Refused::VendorNotAllowed(Vendor::Aws));
        let channel_refused = Err(Refused::ChannelVendorOnly(Vendor::AlibabaCloud));
        let from_marketplace = Facts { channel: Some(Vendor::AlibabaCloud), ..facts(Some(active.clone())) };
        let rows = [
            (facts(None), [Err(Refused::Unchanged), Ok(()), vendor_refused.clone()]),
            (facts(Some(active.clone())), [active_refused.clone(), active_refused.clone(), active_refused]),
            (facts(Some(ended.clone())), [Ok(()), Ok(()), vendor_refused]),
            (
                from_marketplace.clone(),
                [channel_refused.clone(), channel_refused.clone(), channel_refused.clone()],
            ),
            (
                Facts { current: Some(ended), ..from_marketplace.clone() },
                [Ok(()), Ok(()), channel_refused.clone()],
            ),
            (Facts { current: None, ..from_marketplace }, [Err(Refused::Unchanged), Ok(()), channel_refused]),
        ];
        for (number, (facts, expected)) in rows.into_iter().enumerate() {
            for (target, expected) in [Target::BillingAccount, fitting(), other_vendor()].iter().zip(expected)
            {
                assert_eq!(judge(&facts, target), expected, "row {number}, {target:?}");
            }
        }
        let any = Facts { any_method: true, ..facts(None) };
        assert_eq!(judge(&any, &other_vendor()), Ok(()));
        let frozen = facts(Some(subscription(1, Vendor::AlibabaCloud, State::Frozen)));
        assert_eq!(judge(&frozen, &Target::BillingAccount), Ok(()), "WS-7");
        let itself = facts(Some(active.clone()));
        assert_eq!(judge(&itself, &Target::Subscription(active)), Err(Refused::Unchanged));
    }

    #[test]
    fn a_target_that_has_ended_or_has_another_currency_is_refused() {
        let ended = subscription(7, Vendor::AlibabaCloud, State::Frozen);
        let refused = judge(&facts(None), &Target::Subscription(ended.clone()));
        assert_eq!(refused, Err(Refused::TargetEnded(ended.subscription_id)));
        let dollars =
            Subscription { currency: Currency::Usd, ..subscription(7, Vendor::AlibabaCloud, State::Active) };
        let refused = judge(&facts(None), &Target::Subscription(dollars));
        assert_eq!(refused, Err(Refused::Currency { required: Currency::Cny, given: Currency::Usd }));
    }

    #[test]
    fn what_an_earlier_payer_left_can_be_changed_away_from_and_excuses_nothing() {
        let owed = Money::new(Decimal::new(100, 2), Currency::Cny).unwrap();
        let left = Facts { left_behind: true, arrears: Some(owed), ..facts(None) };
        assert_eq!(judge(&left, &Target::BillingAccount), Ok(()));
        assert_eq!(judge(&left, &fitting()), Err(Refused::Arrears(owed)));
    }

    #[test]
    fn arrears_and_a_package_keep_the_billing_account() {
        let owed = Money::new(Decimal::new(100, 2), Currency::Cny).unwrap();
        let owing = Facts { arrears: Some(owed), ..facts(None) };
        assert_eq!(judge(&owing, &fitting()), Err(Refused::Arrears(owed)));
        let ended = Some(subscription(1, Vendor::AlibabaCloud, State::Ended));
        assert_eq!(judge(&Facts { current: ended, ..owing }, &Target::BillingAccount), Ok(()));
        let package = Facts { package_runs: true, ..facts(None) };
        assert_eq!(judge(&package, &fitting()), Err(Refused::PackageRunning));
    }

    #[test]
    fn a_holder_changes_once_in_a_calendar_month_of_billing_days() {
        let last = datetime!(2026-10-31 16:00 UTC);
        let changed = Facts { last_counted: Some(last), ..facts(None) };
        assert_eq!(
            judge(&changed, &fitting()),
            Err(Refused::ThisMonth(last)),
            "the first of November at +08:00"
        );
        let before = Facts { last_counted: Some(last - time::Duration::MICROSECOND), ..facts(None) };
        assert_eq!(judge(&before, &fitting()), Ok(()));
        for cause in [Cause::Unlocking, Cause::Operator] {
            assert_eq!(judge(&Facts { cause, ..changed.clone() }, &fitting()), Ok(()), "{cause:?} (DEC-21)");
        }
    }
}
