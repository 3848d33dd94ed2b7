//! A book opens on first use, in the currency of its billing account: account-svc is asked once per account, before any
//! transaction.

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::money::Currency;

use super::App;
use crate::store;

/// The book's currency, opened if need be; None when there is no such billing account.
pub async fn open_book<R>(app: &App, id: BillingAccountId) -> Result<Option<Currency>, Failure<R>> {
    if let Some(currency) = store::ledger_accounts::find_currency(&mut *app.pool.acquire().await?, id).await?
    {
        return Ok(Some(currency));
    }
    let Some(currency) = app.billing_accounts.currency(id).await? else { return Ok(None) };
    let mut tx = app.pool.begin().await?;
    store::ledger_accounts::open_book(&mut tx, id, currency, app.clock.now()).await?;
    tx.commit().await?;
    Ok(Some(currency))
}
