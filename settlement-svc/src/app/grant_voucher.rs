//! Grants an active plain voucher (VO-1, VO-3).

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, VoucherId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::money::Money;

use super::App;
use super::open_book::lock_open_book;
use super::read_wallet::HeldVoucher;
use super::top_up::{WalletRejection, checked_currency, ledger_failure};
use crate::domain::ledger::{AccountKind, Code};
use crate::domain::voucher::{Kind, Voucher};
use crate::store;

/// What is granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// To whom.
    pub billing_account_id: BillingAccountId,
    /// How much.
    pub face_value: Money,
    /// Its last valid day.
    pub last_date: UsageDate,
    /// Why.
    pub reason: String,
}

/// Grants it, once per request.
pub async fn grant_voucher(
    app: &App,
    request: &Idempotent<HeldVoucher>,
    grant: Grant,
) -> Result<Outcome<HeldVoucher>, Failure<WalletRejection>> {
    let id = grant.billing_account_id;
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    checked_currency(app, id, grant.face_value.currency()).await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    if grant.last_date < UsageDate::of(now) {
        return Err(Failure::Rejected(WalletRejection::Past(UsageDate::of(now))));
    }
    let mut book = lock_open_book(app, &mut tx, id, grant.face_value.currency()).await?;
    let voucher = Voucher {
        voucher_id: VoucherId::new(now),
        billing_account_id: id,
        kind: Kind::Plain,
        face_value: grant.face_value,
        activated_at: now,
        last_date: grant.last_date,
    };
    let source_id = voucher.voucher_id.uuid();
    store::vouchers::insert(&mut tx, &voucher, &grant.reason).await?;
    let kind = AccountKind::Voucher;
    book.add(store::ledger_accounts::insert(&mut tx, id, book.currency, kind, Some(source_id), now).await?);
    let posted = book.post(
        (AccountKind::Promotion, None),
        (kind, Some(source_id)),
        voucher.face_value,
        (Code::VoucherGrant, source_id),
        now,
    );
    posted.map_err(|error| ledger_failure(error, voucher.face_value))?;
    store::transfers::insert(&mut tx, &book).await?;
    store::ledger_accounts::update_sums(&mut tx, &book).await?;
    let held = HeldVoucher { balance: voucher.face_value, voucher };
    request.store(&mut tx, app.schema, &held).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(held))
}

/// The clock's billing day, which validities are counted from.
pub fn today(app: &App) -> UsageDate {
    UsageDate::of(app.clock.now())
}
