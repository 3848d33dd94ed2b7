//! Cloud vendors, what is bought on their marketplaces, and what becomes of workspaces when a subscription ends.

use chassis::id::{BillingAccountId, SubscriptionId};
use chassis::money::Currency;
use time::OffsetDateTime;

/// A vendor with a marketplace (SM-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// Huawei Cloud.
    HuaweiCloud,
    /// Alibaba Cloud.
    AlibabaCloud,
    /// AWS.
    Aws,
    /// Azure.
    Azure,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HuaweiCloud, Self::AlibabaCloud, Self::Aws, Self::Azure];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::HuaweiCloud => "HUAWEI_CLOUD",
            Self::AlibabaCloud => "ALIBABA_CLOUD",
            Self::Aws => "AWS",
            Self::Azure => "AZURE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.word() == word)
    }

    /// Whether customers type what they bought: the others redirect them with a landing token (MK-5, SM-6).
    pub fn ids_are_typed(self) -> bool {
        matches!(self, Self::HuaweiCloud | Self::AlibabaCloud)
    }

    /// The vendor that operates a site, whose accounts may settle there without further leave (REG-1, SM-5).
    pub fn of_site(site: &str) -> Option<Self> {
        match site {
            "CN1_HANGZHOU" | "CN3_ZHANGJIAKOU" | "CN6_HONG_KONG" => Some(Self::AlibabaCloud),
            "CN2_NINGXIA" | "US1_OREGON" | "EU1_FRANKFURT" | "AP1_SINGAPORE" => Some(Self::Aws),
            "CN4_GUANGZHOU" => Some(Self::HuaweiCloud),
            _ => None,
        }
    }
}

/// Whether a subscription can be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Active,
    /// Not now.
    Frozen,
    /// Never again.
    Ended,
}

impl State {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Frozen => "FROZEN",
            Self::Ended => "ENDED",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Frozen, Self::Ended].into_iter().find(|state| state.word() == word)
    }
}

/// What identifies a purchase at its vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Where.
    pub vendor: Vendor,
    /// Who bought.
    pub cloud_account_id: String,
    /// What.
    pub instance_id: String,
}

/// The right to charge a cloud account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub subscription_id: SubscriptionId,
    /// What was bought.
    pub purchase: Purchase,
    /// What the marketplace charges in.
    pub currency: Currency,
    /// Whether it can be charged.
    pub state: State,
    /// Whose it is.
    pub billing_account_id: Option<BillingAccountId>,
    /// When the vendor told of it.
    pub created_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
}

/// What a vendor tells of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The customer has closed it.
    Closed,
    /// It has expired, or was released.
    Expired,
    /// It is frozen.
    Frozen,
    /// It is active again.
    Reinstated,
}

/// What becomes of the workspaces that a subscription settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Their billing account settles from now on (MK-11).
    Switch,
    /// They are locked, and the countdown runs (WS-8).
    Lock,
    /// A lock is lifted.
    Unlock,
}

impl Event {
    /// The state after it; None when it cannot happen any more.
    pub fn state_after(self, state: State) -> Option<State> {
        match (self, state) {
            (Self::Closed | Self::Expired, _) => Some(State::Ended),
            (Self::Frozen, State::Ended) => Some(State::Ended),
            (Self::Frozen, State::Active | State::Frozen) => Some(State::Frozen),
            (Self::Reinstated, State::Active | State::Frozen) => Some(State::Active),
            (Self::Reinstated, State::Ended) => None,
        }
    }

    /// The policy per vendor and event (CF-1, DEC-44): only Alibaba Cloud's customers who close by themselves what was active go on unlocked, and
    /// only if the billing account that is to pay is open.
    pub fn consequence(self, before: State, vendor: Vendor, payer: Payer) -> Consequence {
        match (self, before, vendor, payer) {
            (Self::Reinstated, ..) => Consequence::Unlock,
            (Self::Closed, State::Active, Vendor::AlibabaCloud, Payer::Open) => Consequence::Switch,
            (Self::Closed | Self::Expired | Self::Frozen, ..) => Consequence::Lock,
        }
    }
}

/// Whether a billing account can pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// It can.
    Open,
    /// It is closed.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alibabas_own_closing_switches_every_other_end_locks() {
        for vendor in Vendor::ALL {
            for event in [Event::Closed, Event::Expired, Event::Frozen] {
                let expected = if vendor == Vendor::AlibabaCloud && event == Event::Closed {
                    Consequence::Switch
                } else {
                    Consequence::Lock
                };
                let open = event.consequence(State::Active, vendor, Payer::Open);
                assert_eq!(open, expected, "{vendor:?} {event:?}");
                let frozen = event.consequence(State::Frozen, vendor, Payer::Open);
                assert_eq!(frozen, Consequence::Lock, "its lock stays");
                assert_eq!(event.consequence(State::Active, vendor, Payer::Closed), Consequence::Lock);
            }
            assert_eq!(
                Event::Reinstated.consequence(State::Frozen, vendor, Payer::Open),
                Consequence::Unlock
            );
            assert_eq!(Vendor::from_word(vendor.word()), Some(vendor));
        }
    }

    #[test]
    fn what_has_ended_stays_so() {
        assert_eq!(Event::Frozen.state_after(State::Ended), Some(State::Ended));
        assert_eq!(Event::Reinstated.state_after(State::Ended), None);
        assert_eq!(Event::Reinstated.state_after(State::Frozen), Some(State::Active));
        assert_eq!(Event::Closed.state_after(State::Frozen), Some(State::Ended));
    }

    #[test]
    fn every_site_has_the_vendor_that_operates_it() {
        assert_eq!(Vendor::of_site("CN1_HANGZHOU"), Some(Vendor::AlibabaCloud));
        assert_eq!(Vendor::of_site("CN2_NINGXIA"), Some(Vendor::Aws));
        assert_eq!(Vendor::of_site("CN4_GUANGZHOU"), Some(Vendor::HuaweiCloud));
        for site in ["CN3_ZHANGJIAKOU", "CN6_HONG_KONG", "US1_OREGON", "EU1_FRANKFURT", "AP1_SINGAPORE"] {
            assert!(Vendor::of_site(site).is_some(), "{site}");
        }
    }
}
