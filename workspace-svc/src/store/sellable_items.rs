//! `workspace.sellable_books` and `workspace.sellable_items`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::money::Currency;
use chassis::site::SiteClass;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::domain::sellable::{Book, SellableItem, Sellables};

/// What was noted of a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// The version that holds.
    pub version: i32,
    /// It was not known before.
    pub is_new: bool,
}

/// Notes the version of a book unless a higher one is known, and the last day for which it is certain; keeps others from changing the book until the
/// transaction ends.
pub async fn note(
    connection: &mut PgConnection,
    book: Book,
    (version, last_date): (i32, UsageDate),
    now: OffsetDateTime,
) -> sqlx::Result<Noted> {
    sqlx::query!(
        "insert into workspace.sellable_books (currency, site_class, version, last_date, told_at) values ($1, $2, $3, $4, $5) \
         on conflict on constraint sellable_books_pkey do nothing",
        book.currency.code(),
        book.site_class.word(),
        version,
        last_date.date(),
        now,
    )
    .execute(&mut *connection)
    .await?;
    let known = sqlx::query!(
        "select version, last_date from workspace.sellable_books where currency = $1 and site_class = $2 for update",
        book.currency.code(),
        book.site_class.word(),
    )
    .fetch_one(&mut *connection)
    .await?;
    if version < known.version {
        return Ok(Noted { version: known.version, is_new: false });
    }
    sqlx::query!(
        "update workspace.sellable_books set version = $3, last_date = greatest(last_date, $4), told_at = $5 \
         where currency = $1 and site_class = $2",
        book.currency.code(),
        book.site_class.word(),
        version,
        last_date.date(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(Noted { version, is_new: true })
}

// The macro's own syntax for an array with nulls.
#[allow(clippy::as_conversions)]
/// Puts these in the place of what the book sold.
pub async fn replace(connection: &mut PgConnection, book: Book, items: &[SellableItem]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from workspace.sellable_items where currency = $1 and site_class = $2",
        book.currency.code(),
        book.site_class.word(),
    )
    .execute(&mut *connection)
    .await?;
    let names: Vec<_> = items.iter().map(|item| item.item.clone()).collect();
    let retentions: Vec<_> = items.iter().map(|item| item.retention_days).collect();
    let starts: Vec<_> = items.iter().map(|item| item.effective_from.date()).collect();
    let ends: Vec<_> = items.iter().map(|item| item.effective_until.map(UsageDate::date)).collect();
    sqlx::query!(
        "insert into workspace.sellable_items (currency, site_class, item, retention_days, effective_from, effective_until) \
         select $1, $2, i.* from unnest($3::text[], $4::integer[], $5::date[], $6::date[]) as i",
        book.currency.code(),
        book.site_class.word(),
        &names,
        &retentions,
        &starts,
        &ends as &[Option<Date>],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// All of them.
pub async fn list(connection: &mut PgConnection) -> sqlx::Result<Sellables> {
    let rows = sqlx::query!(
        r#"select b.currency as "currency!", b.site_class as "site_class!", b.last_date as "last_date!", i.item as "item?", i.retention_days as "retention_days?", i.effective_from as "effective_from?",
             i.effective_until from workspace.sellable_books b left join workspace.sellable_items i using (currency, site_class)"#
    )
    .fetch_all(connection)
    .await?;
    let (mut books, mut items) = (Vec::new(), Vec::new());
    for row in rows {
        let corrupt = |problem: &str| {
            Corrupt::new("sellable_items", format!("{} {}", row.currency, row.site_class), problem)
        };
        let book = Book {
            currency: row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?,
            site_class: SiteClass::from_word(&row.site_class).map_err(|_| corrupt("site_class"))?,
        };
        books.push((book, UsageDate::from_date(row.last_date).map_err(|_| corrupt("last_date"))?));
        let Some(((item, retention_days), from)) =
            row.item.clone().zip(row.retention_days).zip(row.effective_from)
        else {
            continue;
        };
        let effective_from = UsageDate::from_date(from).map_err(|_| corrupt("effective_from"))?;
        let until = row.effective_until.map(UsageDate::from_date).transpose();
        let effective_until = until.map_err(|_| corrupt("effective_until"))?;
        items.push((book, SellableItem { item, retention_days, effective_from, effective_until }));
    }
    Ok(Sellables::new(books, items))
}
