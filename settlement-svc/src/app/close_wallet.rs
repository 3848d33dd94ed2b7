//! Closes the wallet of a billing account that is being closed (ACC-19): what is left in it is void, and nothing moves in it any more.

use chassis::audit;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::BillingAccountId;
use chassis::money::Money;

use super::App;
use super::open_book::{currency_of, lock_book};
use super::top_up::{WalletRejection, ledger_failure};
use crate::domain::ledger::{AccountKey, AccountKind, Code};
use crate::store;

const BREAKAGE: AccountKey = (AccountKind::Breakage, None);

/// Closes it, or answers what was void when it was closed. Whoever owes keeps his wallet.
pub async fn close_wallet(app: &App, id: BillingAccountId) -> Result<Money, Failure<WalletRejection>> {
    let currency = currency_of(app, id).await?.ok_or(Failure::Rejected(WalletRejection::NoAccount(id)))?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let mut book = lock_book(app, &mut tx, id, currency).await?;
    if book.is_closed {
        return book.balance(BREAKAGE).map_err(Failure::fatal);
    }
    let arrears = book.arrears().map_err(Failure::fatal)?;
    if arrears.is_positive() {
        return Err(Failure::Rejected(WalletRejection::Owes(arrears)));
    }
    if !book.has(BREAKAGE) {
        let (kind, source) = BREAKAGE;
        book.add(store::ledger_accounts::insert(&mut tx, id, currency, kind, source, now).await?);
    }
    for (source, amount) in book.funds().map_err(Failure::fatal)? {
        let posted = book.post(source, BREAKAGE, amount, (Code::Void, id.uuid()), now);
        posted.map_err(|error| ledger_failure(error, amount))?;
    }
    store::transfers::insert(&mut tx, &book).await?;
    store::ledger_accounts::update_sums(&mut tx, &book).await?;
    store::cloud_account_claims::release(&mut tx, id).await?;
    store::subscriptions::release(&mut tx, id).await?;
    if store::ledger_accounts::close_book(&mut tx, id, now).await? != 1 {
        return Err(chassis::bug!("the book of {id} was closed under its lock"));
    }
    audit::note(&mut tx, app.schema, "WalletService/Close", &[id.to_string()]).await?;
    fault::point("wallet.before_commit");
    tx.commit().await?;
    fault::point("wallet.closed");
    book.balance(BREAKAGE).map_err(Failure::fatal)
}
