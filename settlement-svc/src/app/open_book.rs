//! A book opens on first use, in the currency of its billing account: account-svc is asked once per account, before any
//! transaction.

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::money::Currency;
use sqlx::PgConnection;

use super::App;
use super::top_up::WalletRejection;
use crate::domain::ledger::Book;
use crate::store;

/// The currency of a billing account: of its book, or as account-svc says while it has none; None when there is no such account.
/// Writes nothing, so that a call that is refused has changed nothing.
pub async fn currency_of<R>(app: &App, id: BillingAccountId) -> Result<Option<Currency>, Failure<R>> {
    if let Some(currency) = store::ledger_accounts::find_currency(&mut *app.pool.acquire().await?, id).await?
    {
        return Ok(Some(currency));
    }
    app.billing_accounts.currency(id).await
}

/// Opens the book if need be and locks it, in the transaction of what moves money. Nothing moves in one that is closed.
pub async fn lock_open_book(
    app: &App,
    connection: &mut PgConnection,
    id: BillingAccountId,
    currency: Currency,
) -> Result<Book, Failure<WalletRejection>> {
    let book = lock_book(app, connection, id, currency).await?;
    if book.is_closed { Err(Failure::Rejected(WalletRejection::Closed(id))) } else { Ok(book) }
}

/// The same, closed or not.
pub async fn lock_book<R>(
    app: &App,
    connection: &mut PgConnection,
    id: BillingAccountId,
    currency: Currency,
) -> Result<Book, Failure<R>> {
    if let Some(book) = store::ledger_accounts::lock_book(&mut *connection, id).await? {
        return Ok(book);
    }
    store::ledger_accounts::open_book(&mut *connection, id, currency, app.clock.now()).await?;
    let book = store::ledger_accounts::lock_book(connection, id).await?;
    book.ok_or_else(|| Failure::fatal(format!("the book of {id} is gone")))
}
