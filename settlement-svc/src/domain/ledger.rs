//! Double entry: every transfer has one debit and one credit account of one book, and a positive amount. Balances are kept with
//! the transfers; cash, vouchers and cards never go below zero.

use std::collections::HashMap;

use chassis::id::{BillingAccountId, uuid_at};
use chassis::money::{Currency, InvalidMoney, Money};
use time::OffsetDateTime;
use uuid::Uuid;

/// What an account of a book is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {
    /// Contra of banks and payment providers.
    Funding,
    /// Contra of vouchers.
    Promotion,
    /// Money that was topped up.
    Cash,
    /// What is left of a voucher.
    Voucher,
    /// What is left of a prepaid card.
    Card,
    /// What is owed.
    Arrears,
    /// What was earned.
    Income,
    /// What a subscription has been charged with: a claim on the vendor, without a floor.
    Cloud,
    /// What was void when the book was closed.
    Breakage,
}

impl AccountKind {
    const ALL: [Self; 9] = [
        Self::Funding,
        Self::Promotion,
        Self::Cash,
        Self::Voucher,
        Self::Card,
        Self::Arrears,
        Self::Income,
        Self::Cloud,
        Self::Breakage,
    ];

    /// Those that every book has from its opening on.
    pub const OF_EVERY_BOOK: [Self; 5] =
        [Self::Funding, Self::Promotion, Self::Cash, Self::Arrears, Self::Income];

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Funding => "FUNDING",
            Self::Promotion => "PROMOTION",
            Self::Cash => "CASH",
            Self::Voucher => "VOUCHER",
            Self::Card => "CARD",
            Self::Arrears => "ARREARS",
            Self::Income => "INCOME",
            Self::Cloud => "CLOUD",
            Self::Breakage => "BREAKAGE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// A customer's money cannot be overspent.
    fn has_floor(self) -> bool {
        matches!(self, Self::Cash | Self::Voucher | Self::Card)
    }
}

/// Which account of a book: its kind, and for vouchers and cards which one.
pub type AccountKey = (AccountKind, Option<Uuid>);

/// An account with its running sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerAccount {
    /// Its id within the book.
    pub ledger_account_id: Uuid,
    /// What it is.
    pub key: AccountKey,
    /// Everything that was taken from it.
    pub debits: Money,
    /// Everything that was given to it.
    pub credits: Money,
}

impl LedgerAccount {
    /// credits - debits: what a customer's account holds.
    pub fn balance(&self) -> Result<Money, InvalidMoney> {
        self.credits.minus(self.debits)
    }
}

/// Why money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A payment was received.
    TopUp,
    /// A voucher was granted.
    VoucherGrant,
    /// A source paid a bill.
    Bill,
    /// Nothing covered a part of a bill.
    BillOwed,
    /// Cash repaid a part of a bill.
    ArrearsRepaid,
    /// The account was closed.
    Void,
}

impl Code {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::TopUp => "TOP_UP",
            Self::VoucherGrant => "VOUCHER_GRANT",
            Self::Bill => "BILL",
            Self::BillOwed => "BILL_OWED",
            Self::ArrearsRepaid => "ARREARS_REPAID",
            Self::Void => "VOID",
        }
    }
}

/// A movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its id, in order of posting.
    pub transfer_id: Uuid,
    /// Taken from.
    pub debit_account_id: Uuid,
    /// Given to.
    pub credit_account_id: Uuid,
    /// How much, always positive.
    pub amount: Money,
    /// Why.
    pub code: Code,
    /// For which bill, voucher or payment.
    pub reason_id: Uuid,
    /// When.
    pub posted_at: OffsetDateTime,
}

/// Why a transfer cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The book has no such account.
    #[error("no account {0:?} {1:?}")]
    NoAccount(AccountKind, Option<Uuid>),
    /// The amount is not positive.
    #[error("an amount of {0} cannot move")]
    NotPositive(Money),
    /// The account has less than that.
    #[error("{kind:?} has {available}, {required} is required")]
    Floor {
        /// Which.
        kind: AccountKind,
        /// What it has.
        available: Money,
        /// What was asked of it.
        required: Money,
    },
    /// A sum passes what is kept exactly, or the currency is another.
    #[error("{0}")]
    Money(#[from] InvalidMoney),
}

/// One closed book: all accounts of a billing account, and the transfers that were posted to it in this transaction.
#[derive(Debug, Clone)]
pub struct Book {
    /// Whose.
    pub billing_account_id: BillingAccountId,
    /// In what.
    pub currency: Currency,
    /// Nothing moves in it any more.
    pub is_closed: bool,
    accounts: HashMap<AccountKey, LedgerAccount>,
    posted: Vec<Transfer>,
}

impl Book {
    /// With these accounts.
    pub fn new(
        billing_account_id: BillingAccountId,
        currency: Currency,
        accounts: impl IntoIterator<Item = LedgerAccount>,
    ) -> Self {
        let accounts = accounts.into_iter().map(|account| (account.key, account)).collect();
        Self { billing_account_id, currency, is_closed: false, accounts, posted: Vec::new() }
    }

    /// Adds an account that was just made.
    pub fn add(&mut self, account: LedgerAccount) {
        self.accounts.insert(account.key, account);
    }

    /// Whether the book has the account.
    pub fn has(&self, key: AccountKey) -> bool {
        self.accounts.contains_key(&key)
    }

    /// Nothing, in the book's currency.
    pub fn zero(&self) -> Money {
        Money::zero(self.currency)
    }

    /// What an account holds; nothing when the book has no such account.
    pub fn balance(&self, key: AccountKey) -> Result<Money, InvalidMoney> {
        self.accounts.get(&key).map_or(Ok(self.zero()), LedgerAccount::balance)
    }

    /// What a customer has in it, source by source (ACC-19).
    pub fn funds(&self) -> Result<Vec<(AccountKey, Money)>, InvalidMoney> {
        let mut funds = Vec::new();
        for account in self.accounts.values().filter(|account| account.key.0.has_floor()) {
            let balance = account.balance()?;
            if balance.is_positive() {
                funds.push((account.key, balance));
            }
        }
        funds.sort_by_key(|(key, _)| *key);
        Ok(funds)
    }

    /// What is owed.
    pub fn arrears(&self) -> Result<Money, InvalidMoney> {
        self.zero().minus(self.balance((AccountKind::Arrears, None))?)
    }

    /// Moves money; refuses what would take a customer's account below zero. Returns the transfer's id.
    pub fn post(
        &mut self,
        debit: AccountKey,
        credit: AccountKey,
        amount: Money,
        (code, reason_id): (Code, Uuid),
        now: OffsetDateTime,
    ) -> Result<Uuid, LedgerError> {
        if !amount.is_positive() {
            return Err(LedgerError::NotPositive(amount));
        }
        let from = self.accounts.get(&debit).ok_or(LedgerError::NoAccount(debit.0, debit.1))?;
        let to = self.accounts.get(&credit).ok_or(LedgerError::NoAccount(credit.0, credit.1))?;
        let taken = LedgerAccount { debits: from.debits.plus(amount)?, ..from.clone() };
        let given = LedgerAccount { credits: to.credits.plus(amount)?, ..to.clone() };
        given.balance()?;
        if debit.0.has_floor() && taken.balance()?.is_negative() {
            return Err(LedgerError::Floor { kind: debit.0, available: from.balance()?, required: amount });
        }
        let transfer = Transfer {
            transfer_id: uuid_at(now),
            debit_account_id: taken.ledger_account_id,
            credit_account_id: given.ledger_account_id,
            amount,
            code,
            reason_id,
            posted_at: now,
        };
        let id = transfer.transfer_id;
        self.posted.push(transfer);
        self.accounts.insert(debit, taken);
        self.accounts.insert(credit, given);
        Ok(id)
    }

    /// What was posted to it.
    pub fn posted(&self) -> &[Transfer] {
        &self.posted
    }

    /// The accounts that were moved, as they are now, in order of id.
    pub fn moved(&self) -> Vec<&LedgerAccount> {
        let ids: Vec<Uuid> =
            self.posted.iter().flat_map(|t| [t.debit_account_id, t.credit_account_id]).collect();
        let mut moved: Vec<_> =
            self.accounts.values().filter(|a| ids.contains(&a.ledger_account_id)).collect();
        moved.sort_by_key(|account| account.ledger_account_id);
        moved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn cny(cents: i64) -> Money {
        Money::new(Decimal::new(cents, 2), Currency::Cny).unwrap()
    }

    fn book() -> Book {
        let account = |(kind, id): (AccountKind, u128)| LedgerAccount {
            ledger_account_id: Uuid::from_u128(id),
            key: (kind, None),
            debits: cny(0),
            credits: cny(0),
        };
        let accounts = AccountKind::OF_EVERY_BOOK.into_iter().zip(1..).map(account);
        Book::new(BillingAccountId::from_uuid(Uuid::from_u128(9)), Currency::Cny, accounts)
    }

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const FUNDING: AccountKey = (AccountKind::Funding, None);
    const CASH: AccountKey = (AccountKind::Cash, None);
    const ARREARS: AccountKey = (AccountKind::Arrears, None);
    const INCOME: AccountKey = (AccountKind::Income, None);

    #[test]
    fn cash_is_never_overspent_and_says_what_it_has() {
        let mut book = book();
        book.post(FUNDING, CASH, cny(1_000), (Code::TopUp, Uuid::nil()), NOW).unwrap();
        let refused = book.post(CASH, INCOME, cny(1_001), (Code::Bill, Uuid::nil()), NOW).unwrap_err();
        let floor =
            LedgerError::Floor { kind: AccountKind::Cash, available: cny(1_000), required: cny(1_001) };
        assert_eq!(refused, floor);
        assert_eq!(book.balance(CASH).unwrap(), cny(1_000), "a refusal changes nothing");
    }

    #[test]
    fn nothing_and_less_than_nothing_cannot_move() {
        for cents in [0, -1] {
            let refused = book().post(FUNDING, CASH, cny(cents), (Code::TopUp, Uuid::nil()), NOW);
            assert_eq!(refused, Err(LedgerError::NotPositive(cny(cents))));
        }
    }

    proptest! {
        /// ACC-19: whatever came in and went out, closing voids exactly what was left, and leaves a book that sums to zero.
        #[test]
        fn what_is_left_is_void_to_the_cent(cash in 0_i64..10_000, voucher in 0_i64..10_000, spent in 0_i64..10_000) {
            let mut book = book();
            let key = (AccountKind::Voucher, Some(Uuid::from_u128(70)));
            for (number, key) in [(70, key), (71, (AccountKind::Breakage, None))] {
                let ledger_account_id = Uuid::from_u128(number);
                book.add(LedgerAccount { ledger_account_id, key, debits: cny(0), credits: cny(0) });
            }
            // Nothing moves where the amount is zero or the account has less: both are fine here.
            let steps = [(FUNDING, CASH, cash), ((AccountKind::Promotion, None), key, voucher), (CASH, INCOME, spent)];
            for (debit, credit, cents) in steps {
                drop(book.post(debit, credit, cny(cents), (Code::Bill, Uuid::nil()), NOW));
            }
            let funds = book.funds().unwrap();
            let left = Money::sum(Currency::Cny, funds.iter().map(|(_, amount)| *amount)).unwrap();
            for (source, amount) in funds {
                book.post(source, (AccountKind::Breakage, None), amount, (Code::Void, Uuid::nil()), NOW).unwrap();
            }
            prop_assert!(book.funds().unwrap().is_empty());
            prop_assert_eq!(book.balance((AccountKind::Breakage, None)).unwrap(), left);
            let spent = if spent <= cash { spent } else { 0 };
            prop_assert_eq!(left, cny(cash + voucher - spent));
        }

        /// Whatever is posted or refused: the book sums to zero, and cash is what came in less what went out.
        #[test]
        fn every_book_sums_to_zero(steps in proptest::collection::vec((0_u8..4, 1_i64..10_000), 0..60)) {
            let mut book = book();
            for (step, cents) in steps {
                let (debit, credit, code) = match step {
                    0 => (FUNDING, CASH, Code::TopUp),
                    1 => (CASH, INCOME, Code::Bill),
                    2 => (ARREARS, INCOME, Code::BillOwed),
                    _ => (CASH, ARREARS, Code::ArrearsRepaid),
                };
                let before = book.balance(CASH).unwrap();
                let posted = book.post(debit, credit, cny(cents), (code, Uuid::nil()), NOW);
                prop_assert_eq!(posted.is_err(), debit == CASH && before.amount() < cny(cents).amount());
                let accounts = AccountKind::OF_EVERY_BOOK.map(|kind| book.balance((kind, None)).unwrap());
                prop_assert!(Money::sum(Currency::Cny, accounts).unwrap().is_zero());
                prop_assert!(!book.balance(CASH).unwrap().is_negative());
            }
        }
    }
}
