//! Tells workspace-svc what each book sells: with every publication, and once a day, because what is not sold is certain only up to the day on which it was told.

use chassis::civil::UsageDate;
use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::App;
use crate::domain::price_book::PriceBook;
use crate::peers::sellables::set_event;
use crate::store;

/// Tells of a book that the caller's transaction holds: up to today, or to the later day that a process whose clock is ahead has told of. A publication begins
/// after it.
pub async fn tell(
    app: &App,
    connection: &mut PgConnection,
    book: &PriceBook,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let entries = store::price_books::entries(&mut *connection, book.key).await?;
    let last = store::price_books::mark_told(&mut *connection, book.key, UsageDate::of(now)).await?;
    outbox::append(connection, app.schema, &set_event(book, &entries, last), now).await
}

/// Tells of one book that was not told of today. False when there is none.
pub async fn tell_next(app: &App) -> sqlx::Result<bool> {
    let mut tx = app.pool.begin().await?;
    let now = app.clock.now();
    let Some(book) = store::price_books::hold_untold(&mut tx, UsageDate::of(now)).await? else {
        return Ok(false);
    };
    tell(app, &mut tx, &book, now).await?;
    tx.commit().await?;
    app.nudge.notify_waiters();
    Ok(true)
}
