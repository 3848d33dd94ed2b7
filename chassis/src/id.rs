//! Typed ids: a prefix that says what it is, and a UUIDv7 that says when it was made.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use time::OffsetDateTime;
use uuid::{ContextV7, Timestamp, Uuid};

/// A string that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be \"{prefix}\" followed by a UUID")]
pub struct InvalidId {
    /// The prefix that the field wants.
    pub prefix: &'static str,
}

/// Counts within a millisecond, so that ids of one process sort in the order they were made.
static CONTEXT: Mutex<AssertUnwindSafe<ContextV7>> = Mutex::new(AssertUnwindSafe(ContextV7::new()));

/// A new UUIDv7 of this moment, greater than every one that this process has made before.
pub fn uuid_at(now: OffsetDateTime) -> Uuid {
    let seconds = now.unix_timestamp().max(0).unsigned_abs();
    Uuid::new_v7(Timestamp::from_unix(&CONTEXT, seconds, now.nanosecond()))
}

/// The id that always follows from a namespace and a name: so a step of a journey that is repeated asks for the same thing.
pub fn derived(namespace: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&namespace, name.as_bytes())
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {
    /// What every typed id begins with.
    pub const PREFIXES: &[&str] = &[$($prefix),+];

    $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What the id begins with on the wire.
            pub const PREFIX: &'static str = $prefix;

            /// A new one, of this moment.
            pub fn new(now: OffsetDateTime) -> Self {
                Self(uuid_at(now))
            }

            /// From the database, where ids have no prefix.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// For the database.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0.hyphenated())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let wrong = InvalidId { prefix: Self::PREFIX };
                let rest = text.strip_prefix(Self::PREFIX).filter(|rest| rest.len() == 36).ok_or(wrong.clone())?;
                rest.parse().map(Self).map_err(|_| wrong)
            }
        }
    )+};
}

typed_ids! {
    /// A console account.
    ConsoleAccountId = "acnt_",
    /// A billing account.
    BillingAccountId = "bacc_",
    /// A workspace.
    WorkspaceId = "wksp_",
    /// A bill.
    BillId = "bill_",
    /// A settlement.
    SettlementId = "setl_",
    /// A voucher.
    VoucherId = "vchr_",
    /// A bill run.
    RunId = "run_",
    /// A registration.
    RegistrationId = "regn_",
    /// A cloud subscription.
    SubscriptionId = "csub_",
    /// A package order.
    OrderId = "ordr_",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_another_prefix_is_refused_by_name() {
        let id = WorkspaceId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().parse::<BillId>().unwrap_err().prefix, "bill_");
        assert!("wksp_".parse::<WorkspaceId>().is_err());
        assert!("wksp_00000000000000000000000000000007".parse::<WorkspaceId>().is_err(), "unhyphenated");
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let early = WorkspaceId::new(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let late = WorkspaceId::new(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_001));
        assert!(early < late);
    }

    #[test]
    fn ids_of_one_moment_sort_in_the_order_they_were_made() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_002);
        let ids: Vec<_> = (0..1_000).map(|_| uuid_at(now)).collect();
        assert!(ids.is_sorted());
    }
}
