//! The unit of a run: one billing account, one day. Its workspaces in binding order, in one transaction: bills, lines and the
//! events that have them settled.

use std::collections::HashMap;

use chassis::failure::Failure;
use chassis::fault;
use chassis::id::RunId;
use chassis::money::Money;
use chassis::outbox;
use chassis::status::Refusal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use crate::domain::bill::{Bill, BillSettlement, daily_bill};
use crate::domain::bill_run::{LINES_MAX, RunFailure, Tally};
use crate::domain::price_book::{BookKey, Prices};
use crate::domain::rating::{self, BillLine};
use crate::domain::sealed_day::SealedDay;
use crate::peers::notifications::issued_event;
use crate::peers::settlements::settle_event;
use crate::store;

/// The prices of a book on the day.
#[derive(Debug, Clone)]
pub struct Book {
    /// Its publication.
    pub version: i32,
    /// What holds.
    pub prices: Prices,
}

/// A workspace that can be billed.
struct Rated<'a> {
    day: &'a SealedDay,
    lines: Vec<BillLine>,
    price_version: i32,
}

/// Makes the bills that are missing. One workspace that cannot be rated holds back no other.
pub async fn bill_account_day(
    app: &App,
    run_id: RunId,
    days: &[SealedDay],
    books: &HashMap<BookKey, Option<Book>>,
) -> Result<Tally, Failure<Refusal>> {
    let mut tally = Tally::default();
    let mut rated = Vec::with_capacity(days.len());
    for day in days {
        match rate_day(day, books) {
            Ok(day) => rated.push(day),
            Err(failure) => tally.failures.push(failure),
        }
    }
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    let mut payable = Vec::new();
    for rated in rated {
        payable.extend(issue(&mut tx, rated, run_id, now).await?);
        tally.billed_count += 1;
    }
    // Issued in the order of binding, because quotas are shared so; settled in the order of workspace (DEC-27).
    payable.sort_by_key(|bill: &Bill| bill.workspace_id);
    for bill in &payable {
        outbox::append(&mut tx, app.schema, &settle_event(bill), now).await?;
        outbox::append(&mut tx, app.schema, &issued_event(bill), now).await?;
    }
    fault::point("bill.before_commit");
    tx.commit().await?;
    fault::point("bill.committed");
    Ok(tally)
}

fn rate_day<'a>(day: &'a SealedDay, books: &HashMap<BookKey, Option<Book>>) -> Result<Rated<'a>, RunFailure> {
    let book = books.get(&day.book()).and_then(Option::as_ref);
    let book = book.ok_or_else(|| RunFailure::no_book(day.workspace_id))?;
    if day.quantities.len() > LINES_MAX {
        return Err(RunFailure::too_many_lines(day.workspace_id, day.quantities.len()));
    }
    let lines = rating::rate(&day.quantities, &book.prices, day.currency)
        .map_err(|unratable| RunFailure::unratable(day.workspace_id, &unratable))?;
    Ok(Rated { day, lines, price_version: book.version })
}

/// Issues the day's bill unless it is there, and answers it when there is something to pay. The lock of the chain's end keeps two
/// runners apart.
async fn issue(
    connection: &mut PgConnection,
    rated: Rated<'_>,
    run_id: RunId,
    now: OffsetDateTime,
) -> Result<Option<Bill>, Failure<Refusal>> {
    let Rated { day, lines, price_version } = rated;
    let chain = store::bills::chain_end_for_update(&mut *connection, day.workspace_id).await?;
    if store::bills::daily_exists(&mut *connection, day.workspace_id, day.usage_date).await? {
        return Ok(None);
    }
    let bill = daily_bill(day, lines, price_version, &chain, run_id, now).map_err(Failure::fatal)?;
    store::bills::insert(&mut *connection, &bill).await?;
    if bill.total.is_zero() {
        store::bill_settlements::insert(connection, &bill, &nothing_to_pay(&bill)).await?;
        return Ok(None);
    }
    Ok(Some(bill))
}

/// A zero bill is settled at issue, without an allocation (DEC-47).
fn nothing_to_pay(bill: &Bill) -> BillSettlement {
    let zero = Money::zero(bill.total.currency());
    BillSettlement {
        settlement_id: None,
        voucher: zero,
        card: zero,
        cash: zero,
        cloud: zero,
        owed: zero,
        settled_at: bill.issued_at,
    }
}
