//! Whose an object is. The contract says per RPC what a user must be to which objects; the service that owns the rows says what it is.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use tallystick_proto::common::v1::Right;

use crate::failure::Failure;
use crate::id::{BillId, BillingAccountId, ConsoleAccountId, RegistrationId, WorkspaceId};
use crate::status::Refusal;
use crate::user::User;

/// Something that belongs to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// A console account belongs to itself.
    ConsoleAccount(ConsoleAccountId),
    /// A billing account belongs to itself.
    BillingAccount(BillingAccountId),
    /// A workspace.
    Workspace(WorkspaceId),
    /// A bill.
    Bill(BillId),
    /// A registration.
    Registration(RegistrationId),
}

impl Object {
    /// What it is, as NOT_FOUND says it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ConsoleAccount(_) => "console account",
            Self::BillingAccount(_) => "billing account",
            Self::Workspace(_) => "workspace",
            Self::Bill(_) => "bill",
            Self::Registration(_) => "registration",
        }
    }
}

impl FromStr for Object {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        None.or_else(|| text.parse().map(Self::ConsoleAccount).ok())
            .or_else(|| text.parse().map(Self::BillingAccount).ok())
            .or_else(|| text.parse().map(Self::Workspace).ok())
            .or_else(|| text.parse().map(Self::Bill).ok())
            .or_else(|| text.parse().map(Self::Registration).ok())
            .ok_or("must be the id of an object: a prefix and a UUID")
    }
}

/// What a user is to an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// It is the object, or the object is its own.
    pub holds: bool,
    /// It owns the workspace that the object is, or is of.
    pub owns: bool,
    /// It pays for the workspace that the object is, or is of.
    pub pays: bool,
    /// It is an administrator of the workspace.
    pub administers: bool,
    /// It is a member of the workspace, of whatever role.
    pub views: bool,
    /// Its role in the workspace reads plan and bills.
    pub reads_bills: bool,
}

impl Standing {
    /// Nothing at all: the object answers as if it were not there.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Whether it is enough (RO-1).
    pub fn allows(self, right: Right) -> bool {
        match right {
            Right::Unspecified => false,
            Right::SignedIn => true,
            Right::Hold => self.holds,
            Right::View => self.owns || self.pays || self.administers || self.views,
            Right::ReadBills => self.owns || self.pays || self.administers || self.reads_bills,
            Right::Own => self.owns,
            Right::Administer => self.owns || self.administers,
            Right::Pay => self.pays,
            Right::Settle => self.owns || self.pays,
        }
    }
}

/// The answer of a guard.
pub type Judged<'a> = Pin<Box<dyn Future<Output = Result<Standing, Failure<Refusal>>> + Send + 'a>>;

/// Says what users are to the objects of a service. Accounts are not asked about: they hold themselves.
pub trait Guard: Send + Sync {
    /// What this user is to this object. Nothing, when there is no such object.
    fn standing(&self, user: User, object: Object) -> Judged<'_>;
}

/// Guards a service whose every object is an account's own.
pub struct NothingElse;

impl Guard for NothingElse {
    fn standing(&self, _: User, _: Object) -> Judged<'_> {
        Box::pin(async { Ok(Standing::default()) })
    }
}

/// What an account is to an account; None for other objects.
pub fn of_account(user: User, object: Object) -> Option<Standing> {
    let holds = match object {
        Object::ConsoleAccount(id) => user == User::Console(id),
        Object::BillingAccount(id) => user == User::Billing(id),
        Object::Workspace(_) | Object::Bill(_) | Object::Registration(_) => return None,
    };
    // A billing account that is named by its payer's filter stands for what it pays for.
    Some(Standing { holds, pays: holds && matches!(user, User::Billing(_)), ..Standing::default() })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn rights_follow_from_the_standing_alone() {
        let owner = Standing { owns: true, ..Standing::default() };
        let payer = Standing { pays: true, ..Standing::default() };
        assert!(owner.allows(Right::Own) && owner.allows(Right::ReadBills) && !owner.allows(Right::Hold));
        assert!(!payer.allows(Right::Own) && payer.allows(Right::ReadBills));
        assert!(payer.allows(Right::Pay) && payer.allows(Right::Settle) && !payer.allows(Right::Administer));
        assert!(owner.allows(Right::Administer) && owner.allows(Right::Settle) && !owner.allows(Right::Pay));
        let administrator = Standing { administers: true, views: true, ..Standing::default() };
        assert!(administrator.allows(Right::ReadBills) && administrator.allows(Right::Administer));
        assert!(!administrator.allows(Right::Own) && !administrator.allows(Right::Settle));
        let member = Standing { views: true, ..Standing::default() };
        assert!(member.allows(Right::View) && !member.allows(Right::ReadBills));
        let finance = Standing { reads_bills: true, ..member };
        assert!(finance.allows(Right::ReadBills) && !finance.allows(Right::Administer));
        for right in (1..=8).filter_map(|number| Right::try_from(number).ok()) {
            assert_eq!(Standing::default().allows(right), right == Right::SignedIn, "{right:?}");
        }
    }

    #[test]
    fn an_account_holds_itself_and_no_other() {
        let user = User::Billing(BillingAccountId::from_uuid(Uuid::from_u128(1)));
        let own = Object::BillingAccount(BillingAccountId::from_uuid(Uuid::from_u128(1)));
        let other = Object::BillingAccount(BillingAccountId::from_uuid(Uuid::from_u128(2)));
        let same_number = Object::ConsoleAccount(ConsoleAccountId::from_uuid(Uuid::from_u128(1)));
        assert!(of_account(user, own).unwrap().holds);
        assert!(of_account(user, other).unwrap().is_none());
        assert!(of_account(user, same_number).unwrap().is_none());
    }
}
