//! Takes what a price book sells; an older publication that arrives after a newer one changes nothing (DEC-19).

use chassis::civil::UsageDate;

use super::App;
use crate::domain::sellable::{Book, SellableItem};
use crate::store;

/// Takes the version of a book, with the last day for which it is certain; answers the version that holds.
pub async fn set_sellable_items(
    app: &App,
    book: Book,
    told: (i32, UsageDate),
    items: &[SellableItem],
) -> sqlx::Result<i32> {
    let mut tx = app.pool.begin().await?;
    let noted = store::sellable_items::note(&mut tx, book, told, app.clock.now()).await?;
    if noted.is_new {
        store::sellable_items::replace(&mut tx, book, items).await?;
    }
    tx.commit().await?;
    app.sellables.forget();
    Ok(noted.version)
}
