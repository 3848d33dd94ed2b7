//! Credits a payment: arrears first, oldest usage day first, each repayment naming its bill; the rest is cash (DEC-25).

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, derived, uuid_at};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::money::{Currency, Money};
use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use super::open_book::{currency_of, lock_open_book};
use super::read_wallet::{Balance, balance_of};
use crate::domain::ledger::{AccountKey, AccountKind, Book, Code, LedgerError};
use crate::domain::repayment::repay;
use crate::peers::workspaces::{Order, arrears_event};
use crate::store;
pub use crate::store::payment_claims::Payment;

const FUNDING: AccountKey = (AccountKind::Funding, None);
const CASH: AccountKey = (AccountKind::Cash, None);
const ARREARS: AccountKey = (AccountKind::Arrears, None);

/// Why money does not move.
#[derive(Debug)]
pub enum WalletRejection {
    /// No such billing account.
    NoAccount(BillingAccountId),
    /// The account's currency is another.
    Currency {
        /// The account's.
        required: Currency,
        /// The request's.
        given: Currency,
    },
    /// The account is closed.
    Closed(BillingAccountId),
    /// It owes so much, and cannot be closed.
    Owes(Money),
    /// The payment was credited before.
    PaymentTaken(Payment),
    /// The balance would pass what is kept exactly.
    NoRoom(Money),
    /// A voucher whose last valid day has passed, and today's.
    Past(UsageDate),
}

/// What the payment became.
#[derive(Debug, Clone)]
pub struct ToppedUp {
    /// The wallet after it.
    pub balance: Balance,
    /// What of it repaid arrears.
    pub repaid: Money,
}

/// Sees to it that the currency is the account's own.
pub async fn checked_currency(
    app: &App,
    id: BillingAccountId,
    given: Currency,
) -> Result<(), Failure<WalletRejection>> {
    let required = currency_of(app, id).await?.ok_or(Failure::Rejected(WalletRejection::NoAccount(id)))?;
    if required == given {
        Ok(())
    } else {
        Err(Failure::Rejected(WalletRejection::Currency { required, given }))
    }
}

/// A ledger error that can come of a large amount is the caller's; any other is ours.
pub fn ledger_failure(error: LedgerError, largest: Money) -> Failure<WalletRejection> {
    match error {
        LedgerError::Money(_) => Failure::Rejected(WalletRejection::NoRoom(largest)),
        other => Failure::fatal(other),
    }
}

/// Credits the payment, once per request and once per payment.
pub async fn top_up(
    app: &App,
    request: &Idempotent<ToppedUp>,
    id: BillingAccountId,
    amount: Money,
    payment: Payment,
) -> Result<Outcome<ToppedUp>, Failure<WalletRejection>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    checked_currency(app, id, amount.currency()).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let reason_id = uuid_at(now);
    if !store::payment_claims::insert(&mut tx, &payment, id, reason_id, amount, now).await? {
        return Err(Failure::Rejected(WalletRejection::PaymentTaken(payment)));
    }
    let mut book = lock_open_book(app, &mut tx, id, amount.currency()).await?;
    let posted = book.post(FUNDING, CASH, amount, (Code::TopUp, reason_id), now);
    posted.map_err(|error| ledger_failure(error, amount))?;
    let repaid = repay_arrears(&mut tx, &mut book, amount, now).await?;
    // A partial payment unlocks nothing (DEC-41).
    if repaid.is_positive() && !book.arrears().map_err(Failure::fatal)?.is_positive() {
        let order = arrears_event(Order::Unlock, id, &[], derived(reason_id, "arrears"));
        outbox::append(&mut tx, app.schema, &order, now).await?;
    }
    store::transfers::insert(&mut tx, &book).await?;
    store::ledger_accounts::update_sums(&mut tx, &book).await?;
    let balance = balance_of(&mut tx, &book, now).await?;
    let topped_up = ToppedUp { balance, repaid };
    request.store(&mut tx, app.schema, &topped_up).await?;
    chassis::fault::point("top_up.before_commit");
    tx.commit().await?;
    app.nudge.notify_waiters();
    chassis::fault::point("top_up.committed");
    Ok(Outcome::Fresh(topped_up))
}

async fn repay_arrears(
    connection: &mut PgConnection,
    book: &mut Book,
    amount: Money,
    now: OffsetDateTime,
) -> Result<Money, Failure<WalletRejection>> {
    let owed =
        store::settlements::list_owed(&mut *connection, book.billing_account_id, book.currency).await?;
    let mut sum = book.zero();
    for part in repay(amount, &owed).map_err(Failure::fatal)? {
        let code = (Code::ArrearsRepaid, part.bill_id.uuid());
        book.post(CASH, ARREARS, part.remaining, code, now).map_err(|error| ledger_failure(error, amount))?;
        if store::settlements::reduce_owed(&mut *connection, book.billing_account_id, &part).await? != 1 {
            return Err(chassis::bug!("the settlement of {} is gone", part.bill_id));
        }
        sum = sum.plus(part.remaining).map_err(Failure::fatal)?;
    }
    Ok(sum)
}
