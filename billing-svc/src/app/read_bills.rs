//! Reads of bills, runs and price books.

use chassis::civil::UsageDate;
use chassis::id::{BillId, BillingAccountId, RunId, WorkspaceId};
use sqlx::Result;

use super::App;
use crate::domain::bill::{Bill, BillSettlement};
use crate::domain::bill_run::BillRun;
use crate::domain::price_book::{BookKey, PriceBook, PriceEntry};
use crate::store;
pub use crate::store::bill_runs::ListedFailure;
pub use crate::store::bills::Of;

/// One bill, and how it was paid.
pub async fn bill(app: &App, id: BillId) -> Result<Option<(Bill, Option<BillSettlement>)>> {
    let mut connection = app.pool.acquire().await?;
    let Some(bill) = store::bills::get(&mut connection, id).await? else { return Ok(None) };
    let settlement =
        store::bill_settlements::list(&mut connection, std::slice::from_ref(&bill)).await?.remove(&id);
    Ok(Some((bill, settlement)))
}

/// Bills without their lines, newest first, each with how it was paid.
pub async fn bills(
    app: &App,
    of: Of,
    day: Option<UsageDate>,
    before: Option<BillId>,
    limit: i64,
) -> Result<Vec<(Bill, Option<BillSettlement>)>> {
    let mut connection = app.pool.acquire().await?;
    let bills = store::bills::list(&mut connection, of, day, before, limit).await?;
    let mut settlements = store::bill_settlements::list(&mut connection, &bills).await?;
    let pair = |bill: Bill| {
        let settlement = settlements.remove(&bill.bill_id);
        (bill, settlement)
    };
    Ok(bills.into_iter().map(pair).collect())
}

/// How many daily bills a payer has, and how many of its bills have no settlement (DEC-74).
pub async fn count(app: &App, payer: BillingAccountId) -> Result<(i64, i64)> {
    store::bills::count(&mut *app.pool.acquire().await?, payer).await
}

/// One run.
pub async fn run(app: &App, id: RunId) -> Result<Option<BillRun>> {
    store::bill_runs::get(&mut *app.pool.acquire().await?, id).await
}

/// Runs, newest first.
pub async fn runs(app: &App, before: Option<RunId>, limit: i64) -> Result<Vec<BillRun>> {
    store::bill_runs::list(&mut *app.pool.acquire().await?, before, limit).await
}

/// What a run could not bill; None when there is no such run.
pub async fn failures(
    app: &App,
    id: RunId,
    after: Option<WorkspaceId>,
    limit: i64,
) -> Result<Option<Vec<ListedFailure>>> {
    let mut connection = app.pool.acquire().await?;
    if store::bill_runs::get(&mut connection, id).await?.is_none() {
        return Ok(None);
    }
    store::bill_runs::list_failures(&mut connection, id, after, limit).await.map(Some)
}

/// A book and its entries of a day.
pub async fn price_book(
    app: &App,
    key: BookKey,
    day: UsageDate,
) -> Result<Option<(PriceBook, Vec<PriceEntry>)>> {
    let mut connection = app.pool.acquire().await?;
    let Some(book) = store::price_books::get(&mut connection, key).await? else { return Ok(None) };
    let entries = store::price_books::entries_on(&mut connection, key, day).await?;
    Ok(Some((book, entries)))
}

/// All books: there are four at most.
pub async fn price_books(app: &App) -> Result<Vec<PriceBook>> {
    store::price_books::list(&mut *app.pool.acquire().await?).await
}
