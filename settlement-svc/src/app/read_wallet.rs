//! Reads of wallets and settlements.

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::{BillId, BillingAccountId, SettlementId, VoucherId};
use chassis::money::Money;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use super::open_book::currency_of;
use super::top_up::WalletRejection;
use crate::domain::ledger::{AccountKind, Book};
use crate::domain::settlement::Settlement;
use crate::domain::voucher::Voucher;
use crate::store;
pub use crate::store::transfers::Entry;

/// What a billing account has and owes.
#[derive(Debug, Clone)]
pub struct Balance {
    /// Whose.
    pub billing_account_id: BillingAccountId,
    /// Cash.
    pub cash: Money,
    /// What is left on vouchers that are valid today.
    pub vouchers: Money,
    /// What is left on cards.
    pub cards: Money,
    /// What is owed.
    pub arrears: Money,
}

/// A voucher and what is left of it.
#[derive(Debug, Clone)]
pub struct HeldVoucher {
    /// The voucher.
    pub voucher: Voucher,
    /// What is left.
    pub balance: Money,
}

/// The balance of a book as it stands in this transaction (PC-7, AP-1).
pub async fn balance_of<R>(
    connection: &mut PgConnection,
    book: &Book,
    now: OffsetDateTime,
) -> Result<Balance, Failure<R>> {
    let id = book.billing_account_id;
    let valid = store::vouchers::list_valid_on(connection, id, UsageDate::of(now)).await?;
    let mut vouchers = book.zero();
    for voucher in &valid {
        let left =
            book.balance((AccountKind::Voucher, Some(voucher.voucher_id.uuid()))).map_err(Failure::fatal)?;
        vouchers = vouchers.plus(left).map_err(Failure::fatal)?;
    }
    Ok(Balance {
        billing_account_id: id,
        cash: book.balance((AccountKind::Cash, None)).map_err(Failure::fatal)?,
        vouchers,
        cards: book.zero(),
        arrears: book.arrears().map_err(Failure::fatal)?,
    })
}

/// The balance of a billing account.
pub async fn balance(app: &App, id: BillingAccountId) -> Result<Balance, Failure<WalletRejection>> {
    let currency = currency_of(app, id).await?.ok_or(Failure::Rejected(WalletRejection::NoAccount(id)))?;
    let mut tx = app.pool.begin().await?;
    let book = store::ledger_accounts::read_book(&mut tx, id).await?;
    // A wallet that nothing has moved in has no book yet, and nothing in it.
    let book = book.unwrap_or_else(|| Book::new(id, currency, []));
    balance_of(&mut tx, &book, app.clock.now()).await
}

/// A billing account's vouchers, oldest first, each with what is left of it.
pub async fn vouchers<R>(
    app: &App,
    id: BillingAccountId,
    after: Option<VoucherId>,
    limit: i64,
) -> Result<Vec<HeldVoucher>, Failure<R>> {
    let mut tx = app.pool.begin().await?;
    let Some(book) = store::ledger_accounts::read_book(&mut tx, id).await? else { return Ok(Vec::new()) };
    let mut held = Vec::new();
    for voucher in store::vouchers::list(&mut tx, id, after, limit).await? {
        let key = (AccountKind::Voucher, Some(voucher.voucher_id.uuid()));
        held.push(HeldVoucher { balance: book.balance(key).map_err(Failure::fatal)?, voucher });
    }
    Ok(held)
}

/// The movements of a book, oldest first.
pub async fn entries(
    app: &App,
    id: BillingAccountId,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    store::transfers::list(&mut *app.pool.acquire().await?, id, after, limit).await
}

/// The settlement of a bill.
pub async fn settlement(
    app: &App,
    id: BillingAccountId,
    bill_id: BillId,
) -> sqlx::Result<Option<Settlement>> {
    store::settlements::get(&mut *app.pool.acquire().await?, id, bill_id).await
}

/// A payer's settlements, oldest first.
pub async fn settlements(
    app: &App,
    id: BillingAccountId,
    after: Option<SettlementId>,
    limit: i64,
) -> sqlx::Result<Vec<Settlement>> {
    store::settlements::list(&mut *app.pool.acquire().await?, id, after, limit).await
}
