//! Takes what a price book sells; an older publication that arrives after a newer one changes nothing (DEC-19).

use super::App;
use crate::domain::sellable::{Book, SellableItem};
use crate::store;

/// Answers the version that holds.
pub async fn set_sellable_items(
    app: &App,
    book: Book,
    version: i32,
    items: &[SellableItem],
) -> sqlx::Result<i32> {
    let mut tx = app.pool.begin().await?;
    let (held, is_new) = store::sellable_items::take_version(&mut tx, book, version, app.clock.now()).await?;
    if is_new {
        store::sellable_items::replace(&mut tx, book, items).await?;
    }
    tx.commit().await?;
    app.sellables.forget();
    Ok(held)
}
