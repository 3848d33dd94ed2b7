//! `billing.price_books` and `billing.price_entries`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::money::Currency;
use chassis::site::SiteClass;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::domain::price_book::{BookKey, PriceBook, PriceEntry};

struct Row {
    currency: String,
    site_class: String,
    version: i32,
    published_at: OffsetDateTime,
    entry_count: i32,
}

impl TryFrom<Row> for PriceBook {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| {
            Corrupt::new("price_books", format!("{} {}", row.currency, row.site_class), problem)
        };
        let key = BookKey {
            currency: row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?,
            site_class: SiteClass::from_word(&row.site_class).map_err(|_| corrupt("site_class"))?,
        };
        Ok(Self { key, version: row.version, entry_count: row.entry_count, published_at: row.published_at })
    }
}

struct EntryRow {
    item: String,
    retention_days: i32,
    unit_size: Decimal,
    unit_of: String,
    unit_price: Decimal,
    effective_from: Date,
    effective_until: Option<Date>,
}

impl TryFrom<EntryRow> for PriceEntry {
    type Error = Corrupt;

    fn try_from(row: EntryRow) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("price_entries", &row.item, problem);
        let from = UsageDate::from_date(row.effective_from).map_err(|_| corrupt("effective_from"))?;
        let until = row.effective_until.map(UsageDate::from_date).transpose();
        Ok(Self {
            effective_until: until.map_err(|_| corrupt("effective_until"))?,
            item: row.item,
            retention_days: row.retention_days,
            unit_size: row.unit_size,
            unit_of: row.unit_of,
            unit_price: row.unit_price,
            effective_from: from,
        })
    }
}

pub async fn get(connection: &mut PgConnection, key: BookKey) -> sqlx::Result<Option<PriceBook>> {
    let row = sqlx::query_as!(
        Row,
        r#"select currency, site_class, version, published_at, (select count(*)::integer from billing.price_entries e
             where e.currency = b.currency and e.site_class = b.site_class) as "entry_count!"
           from billing.price_books b where currency = $1 and site_class = $2"#,
        key.currency.code(),
        key.site_class.word(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(PriceBook::try_from).transpose()?)
}

pub async fn list(connection: &mut PgConnection) -> sqlx::Result<Vec<PriceBook>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select currency, site_class, version, published_at, (select count(*)::integer from billing.price_entries e
             where e.currency = b.currency and e.site_class = b.site_class) as "entry_count!"
           from billing.price_books b order by currency, site_class"#,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(PriceBook::try_from(row)?)).collect()
}

fn told_day(key: BookKey, date: Date) -> Result<UsageDate, Corrupt> {
    UsageDate::from_date(date).map_err(|error| {
        Corrupt::new("price_books", format!("{} {}", key.currency, key.site_class.word()), error)
    })
}

/// Counts a publication. Its row lock keeps others of the book apart, and what workspace-svc is told of it. Answers the last day that it was told of.
pub async fn count_publication(
    connection: &mut PgConnection,
    key: BookKey,
    now: OffsetDateTime,
) -> sqlx::Result<Option<UsageDate>> {
    let told = sqlx::query_scalar!(
        "insert into billing.price_books (currency, site_class, version, published_at) values ($1, $2, 1, $3) \
         on conflict on constraint price_books_pkey \
         do update set version = price_books.version + 1, published_at = excluded.published_at returning told_date",
        key.currency.code(),
        key.site_class.word(),
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(told.map(|date| told_day(key, date)).transpose()?)
}

/// Notes up to which day workspace-svc is told, unless it was told of a later one already; answers the last one.
pub async fn mark_told(
    connection: &mut PgConnection,
    key: BookKey,
    today: UsageDate,
) -> sqlx::Result<UsageDate> {
    let told = sqlx::query_scalar!(
        r#"update billing.price_books set told_date = greatest(told_date, $3) where currency = $1 and site_class = $2
           returning told_date as "told_date!""#,
        key.currency.code(),
        key.site_class.word(),
        today.date(),
    )
    .fetch_one(connection)
    .await?;
    Ok(told_day(key, told)?)
}

/// A book that workspace-svc was not told of today, held until the transaction ends; not one that somebody else holds.
pub async fn hold_untold(connection: &mut PgConnection, today: UsageDate) -> sqlx::Result<Option<PriceBook>> {
    let row = sqlx::query_as!(
        Row,
        r#"select currency, site_class, version, published_at, (select count(*)::integer from billing.price_entries e
             where e.currency = b.currency and e.site_class = b.site_class) as "entry_count!"
           from billing.price_books b where told_date is null or told_date < $1
           order by currency, site_class limit 1 for update of b skip locked"#,
        today.date(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(PriceBook::try_from).transpose()?)
}

/// Every entry of a book.
pub async fn entries(connection: &mut PgConnection, key: BookKey) -> sqlx::Result<Vec<PriceEntry>> {
    let rows = sqlx::query_as!(
        EntryRow,
        "select item, retention_days, unit_size, unit_of, unit_price, effective_from, effective_until \
         from billing.price_entries where currency = $1 and site_class = $2 order by item, retention_days, effective_from",
        key.currency.code(),
        key.site_class.word(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(PriceEntry::try_from(row)?)).collect()
}

/// The entries of a book that hold on a day.
pub async fn entries_on(
    connection: &mut PgConnection,
    key: BookKey,
    day: UsageDate,
) -> sqlx::Result<Vec<PriceEntry>> {
    let rows = sqlx::query_as!(
        EntryRow,
        "select item, retention_days, unit_size, unit_of, unit_price, effective_from, effective_until \
         from billing.price_entries where currency = $1 and site_class = $2 and effective_from <= $3 \
           and (effective_until is null or effective_until > $3) order by item, retention_days",
        key.currency.code(),
        key.site_class.word(),
        day.date(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(PriceEntry::try_from(row)?)).collect()
}

pub async fn end_entry(connection: &mut PgConnection, key: BookKey, entry: &PriceEntry) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update billing.price_entries set effective_until = $6 where currency = $1 and site_class = $2 and item = $3 \
           and retention_days = $4 and effective_from = $5 and effective_until is null",
        key.currency.code(),
        key.site_class.word(),
        entry.item,
        entry.retention_days,
        entry.effective_from.date(),
        entry.effective_until.map(UsageDate::date),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

// The macro's own syntax for an array with nulls.
#[allow(clippy::as_conversions)]
/// Inserts entries of the newest publication; none that begins on a day that workspace-svc was told of before it.
pub async fn insert_entries(
    connection: &mut PgConnection,
    key: BookKey,
    entries: &[PriceEntry],
) -> sqlx::Result<()> {
    let items: Vec<_> = entries.iter().map(|entry| entry.item.clone()).collect();
    let retentions: Vec<_> = entries.iter().map(|entry| entry.retention_days).collect();
    let sizes: Vec<_> = entries.iter().map(|entry| entry.unit_size).collect();
    let units: Vec<_> = entries.iter().map(|entry| entry.unit_of.clone()).collect();
    let prices: Vec<_> = entries.iter().map(|entry| entry.unit_price).collect();
    let starts: Vec<_> = entries.iter().map(|entry| entry.effective_from.date()).collect();
    let ends: Vec<_> = entries.iter().map(|entry| entry.effective_until.map(UsageDate::date)).collect();
    sqlx::query!(
        "insert into billing.price_entries (currency, site_class, version, told_date, item, retention_days, unit_size, unit_of, \
         unit_price, effective_from, effective_until) select b.currency, b.site_class, b.version, b.told_date, e.* \
         from billing.price_books b cross join unnest($3::text[], $4::integer[], $5::numeric[], $6::text[], $7::numeric[], \
         $8::date[], $9::date[]) as e where b.currency = $1 and b.site_class = $2",
        key.currency.code(),
        key.site_class.word(),
        &items,
        &retentions,
        &sizes,
        &units,
        &prices,
        &starts,
        &ends as &[Option<Date>],
    )
    .execute(connection)
    .await
    .map(drop)
}
