//! A publication of a price book: no gap is judged here, no overlap is let through, and no day is touched that has begun or that workspace-svc was told of.

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use super::tell_sellables::tell;
use crate::domain::price_book::{
    BookKey, EntryProblem, PriceBook, PriceEntry, last_certain_day, plan_publication,
};
use crate::store;

/// Why nothing is published.
#[derive(Debug)]
pub enum PublishRejection {
    /// Entries that cannot be, each by its index.
    Entries(Vec<EntryProblem>),
}

/// Publishes, once per request.
pub async fn publish_price_book(
    app: &App,
    request: &Idempotent<PriceBook>,
    key: BookKey,
    entries: Vec<PriceEntry>,
) -> Result<Outcome<PriceBook>, Failure<PublishRejection>> {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let told = store::price_books::count_publication(&mut tx, key, app.clock.now()).await?;
    // Read once the book is held. Whoever held it before may have told of a day that has not begun by this clock.
    let now = app.clock.now();
    let existing = store::price_books::entries(&mut tx, key).await?;
    let plan = plan_publication(&existing, entries, last_certain_day(UsageDate::of(now), told))
        .map_err(|problems| Failure::Rejected(PublishRejection::Entries(problems)))?;
    for entry in &plan.ended {
        if store::price_books::end_entry(&mut tx, key, entry).await? != 1 {
            return Err(chassis::bug!("{} was not open", entry.item));
        }
    }
    store::price_books::insert_entries(&mut tx, key, &plan.added).await?;
    let book = store::price_books::get(&mut tx, key).await?;
    let book = book.ok_or_else(|| Failure::fatal("a book that was just published is not there"))?;
    tell(app, &mut tx, &book, now).await?;
    request.store(&mut tx, app.schema, &book).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(book))
}
