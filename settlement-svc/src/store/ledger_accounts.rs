//! `settlement.books` and `settlement.ledger_accounts`. `lock_book` is the only place that locks a wallet: one row per book, so that
//! there is no order to get wrong.

use chassis::failure::Corrupt;
use chassis::id::BillingAccountId;
use chassis::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ledger::{AccountKind, Book, LedgerAccount};

/// The currency of a book; None when it is not open.
pub async fn find_currency(
    connection: &mut PgConnection,
    id: BillingAccountId,
) -> sqlx::Result<Option<Currency>> {
    let currency =
        sqlx::query_scalar!("select currency from settlement.books where billing_account_id = $1", id.uuid())
            .fetch_optional(connection)
            .await?;
    let parse = |text: String| text.parse().map_err(|error| Corrupt::new("books", id, error));
    Ok(currency.map(parse).transpose()?)
}

/// Opens a book with the accounts that every book has; one that is open stays as it is.
pub async fn open_book(
    connection: &mut PgConnection,
    id: BillingAccountId,
    currency: Currency,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let opened = sqlx::query!(
        "insert into settlement.books (billing_account_id, currency, opened_at) values ($1, $2, $3) \
         on conflict on constraint books_pkey do nothing",
        id.uuid(),
        currency.code(),
        now,
    )
    .execute(&mut *connection)
    .await?;
    if opened.rows_affected() == 0 {
        return Ok(());
    }
    for kind in AccountKind::OF_EVERY_BOOK {
        insert(&mut *connection, id, currency, kind, None, now).await?;
    }
    Ok(())
}

/// Adds an account to a book.
pub async fn insert(
    connection: &mut PgConnection,
    id: BillingAccountId,
    currency: Currency,
    kind: AccountKind,
    source_id: Option<Uuid>,
    now: OffsetDateTime,
) -> sqlx::Result<LedgerAccount> {
    let ledger_account_id = chassis::id::uuid_at(now);
    sqlx::query!(
        "insert into settlement.ledger_accounts (billing_account_id, ledger_account_id, currency, kind, source_id) \
         values ($1, $2, $3, $4, $5)",
        id.uuid(),
        ledger_account_id,
        currency.code(),
        kind.word(),
        source_id,
    )
    .execute(connection)
    .await?;
    let zero = Money::zero(currency);
    Ok(LedgerAccount { ledger_account_id, key: (kind, source_id), debits: zero, credits: zero })
}

struct Row {
    ledger_account_id: Uuid,
    kind: String,
    source_id: Option<Uuid>,
    debits: Decimal,
    credits: Decimal,
}

/// Locks a book until the transaction ends, and reads its accounts. None when it is not open.
pub async fn lock_book(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<Option<Book>> {
    let locked = sqlx::query_scalar!(
        "select currency from settlement.books where billing_account_id = $1 for update",
        id.uuid(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    if locked.is_none() {
        return Ok(None);
    }
    read_book(connection, id).await
}

/// Reads a book as it is. None when it is not open.
pub async fn read_book(connection: &mut PgConnection, id: BillingAccountId) -> sqlx::Result<Option<Book>> {
    let Some(currency) = find_currency(&mut *connection, id).await? else { return Ok(None) };
    let closed_at = sqlx::query_scalar!(
        "select closed_at from settlement.books where billing_account_id = $1",
        id.uuid()
    )
    .fetch_one(&mut *connection)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        "select ledger_account_id, kind, source_id, debits, credits from settlement.ledger_accounts \
         where billing_account_id = $1",
        id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let account = |row: Row| -> Result<LedgerAccount, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("ledger_accounts", row.ledger_account_id, problem);
        let kind = AccountKind::from_word(&row.kind).ok_or_else(|| corrupt("kind"))?;
        Ok(LedgerAccount {
            ledger_account_id: row.ledger_account_id,
            key: (kind, row.source_id),
            debits: Money::new(row.debits, currency).map_err(|_| corrupt("debits"))?,
            credits: Money::new(row.credits, currency).map_err(|_| corrupt("credits"))?,
        })
    };
    let accounts: Result<Vec<_>, Corrupt> = rows.into_iter().map(account).collect();
    let mut book = Book::new(id, currency, accounts?);
    book.is_closed = closed_at.is_some();
    Ok(Some(book))
}

/// Closes a book for good; it must be locked.
pub async fn close_book(
    connection: &mut PgConnection,
    id: BillingAccountId,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    sqlx::query!(
        "update settlement.ledger_accounts set is_closed = true where billing_account_id = $1",
        id.uuid(),
    )
    .execute(&mut *connection)
    .await?;
    let done = sqlx::query!(
        "update settlement.books set closed_at = $2 where billing_account_id = $1 and closed_at is null",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Writes the new sums of the accounts that were moved, in order of id.
pub async fn update_sums(connection: &mut PgConnection, book: &Book) -> sqlx::Result<()> {
    let moved = book.moved();
    let ids: Vec<_> = moved.iter().map(|account| account.ledger_account_id).collect();
    let debits: Vec<_> = moved.iter().map(|account| account.debits.amount()).collect();
    let credits: Vec<_> = moved.iter().map(|account| account.credits.amount()).collect();
    let done = sqlx::query!(
        "update settlement.ledger_accounts a set debits = m.debits, credits = m.credits, version = version + 1 \
         from unnest($2::uuid[], $3::numeric[], $4::numeric[]) as m (ledger_account_id, debits, credits) \
         where a.billing_account_id = $1 and a.ledger_account_id = m.ledger_account_id",
        book.billing_account_id.uuid(),
        &ids,
        &debits,
        &credits,
    )
    .execute(connection)
    .await?;
    if usize::try_from(done.rows_affected()) == Ok(moved.len()) {
        Ok(())
    } else {
        Err(Corrupt::new("ledger_accounts", book.billing_account_id, "an account of the book is gone").into())
    }
}
