//! Settles a bill from its payer's wallet, once (ST-1, ST-3, ST-5): lock the book, deduct in order, post, and tell billing-svc, all
//! in one transaction. What nothing covers is owed.

use std::collections::HashMap;

use chassis::failure::Failure;
use chassis::fault;
use chassis::id::{BillId, SettlementId, SubscriptionId};
use chassis::money::Money;
use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use super::lock_for_arrears::order_lock;
use super::open_book::lock_book;
use super::top_up::{WalletRejection, checked_currency, ledger_failure};
use crate::domain::deduction::{Allocation, Deduction, Remainder, Source, SourceKind, deduct};
use crate::domain::ledger::{AccountKey, AccountKind, Book, Code};
use crate::domain::settlement::{Bill, Settlement};
use crate::domain::voucher::Kind;
use crate::peers::bills::settled_event;
use crate::store;

/// Why a bill is not settled.
#[derive(Debug)]
pub enum SettleRejection {
    /// The wallet refuses.
    Wallet(WalletRejection),
    /// It was settled with another payer, total or digest.
    Mismatch(BillId),
}

type Outcome<T> = Result<T, Failure<SettleRejection>>;

/// Settles the bill, or answers how it was settled.
pub async fn settle_bill(app: &App, bill: &Bill) -> Outcome<Settlement> {
    let currency = checked_currency(app, bill.billing_account_id, bill.total.currency()).await;
    currency.map_err(|failure| failure.map(SettleRejection::Wallet))?;
    let mut tx = app.pool.begin().await?;
    let mut book = lock_book(app, &mut tx, bill.billing_account_id, bill.total.currency()).await?;
    // After the lock: a voucher granted while this waited is active by now.
    let now = app.clock.now();
    if let Some(settled) = store::settlements::get(&mut tx, bill.billing_account_id, bill.bill_id).await? {
        let same = settled.is_of(bill);
        return if same {
            Ok(settled)
        } else {
            Err(Failure::Rejected(SettleRejection::Mismatch(bill.bill_id)))
        };
    }
    if store::settlements::exists_elsewhere(&mut tx, bill.billing_account_id, bill.bill_id).await? {
        return Err(Failure::Rejected(SettleRejection::Mismatch(bill.bill_id)));
    }
    if book.is_closed {
        let closed = WalletRejection::Closed(bill.billing_account_id);
        return Err(Failure::Rejected(SettleRejection::Wallet(closed)));
    }
    let subscription = subscription_of(&mut tx, bill).await?;
    let mut sources = sources(&mut tx, &book, bill, now).await?;
    let remainder = match subscription {
        Some(id) => {
            sources.retain(|source| source.kind != SourceKind::Cash);
            have_cloud_account(&mut tx, &mut book, id, now).await?;
            Remainder::Cloud(id.uuid())
        }
        None => Remainder::Owed,
    };
    let deduction = deduct(&bill.lines, sources, remainder, book.zero()).map_err(Failure::fatal)?;
    let transfers = post(&mut book, bill, &deduction, now)?;
    let settlement = Settlement {
        settlement_id: SettlementId::new(now),
        bill_id: bill.bill_id,
        billing_account_id: bill.billing_account_id,
        workspace_id: bill.workspace_id,
        usage_date: bill.usage_date,
        subscription,
        total: bill.total,
        owed: deduction.owed,
        owed_remaining: deduction.owed,
        bill_digest: bill.digest.to_vec(),
        allocations: deduction.allocations,
        settled_at: now,
    };
    store::transfers::insert(&mut tx, &book).await?;
    store::ledger_accounts::update_sums(&mut tx, &book).await?;
    store::settlements::insert(&mut tx, &settlement, &transfers).await?;
    outbox::append(&mut tx, app.schema, &settled_event(&settlement).map_err(Failure::fatal)?, now).await?;
    if settlement.owed.is_positive() {
        order_lock(app, &mut tx, bill.billing_account_id, bill.bill_id.uuid(), now).await?;
    }
    fault::point("settle.before_commit");
    tx.commit().await?;
    fault::point("settle.committed");
    app.nudge.notify_waiters();
    Ok(settlement)
}

/// The subscription that settles a bill: the method of its day is the one in force at its 24:00 (DEC-22). One that had ended by then, or is not the
/// payer's, settles nothing: the wallet pays.
async fn subscription_of(connection: &mut PgConnection, bill: &Bill) -> Outcome<Option<SubscriptionId>> {
    let method =
        store::settlement_methods::in_force(&mut *connection, bill.workspace_id, bill.usage_date.end())
            .await?;
    let Some(id) = method.and_then(|method| method.subscription) else { return Ok(None) };
    let subscription = store::subscriptions::get(connection, id).await?;
    let subscription =
        subscription.ok_or_else(|| Failure::fatal(format!("{id} is a method and is not there")))?;
    let settles = subscription.ended_at.is_none_or(|ended| ended >= bill.usage_date.end())
        && subscription.billing_account_id == Some(bill.billing_account_id)
        && subscription.currency == bill.total.currency();
    Ok(settles.then_some(id))
}

/// The book's account of a subscription, from the first bill on that it settles.
async fn have_cloud_account(
    connection: &mut PgConnection,
    book: &mut Book,
    id: SubscriptionId,
    now: OffsetDateTime,
) -> Outcome<()> {
    let (kind, source) = (AccountKind::Cloud, Some(id.uuid()));
    if !book.has((kind, source)) {
        let (payer, currency) = (book.billing_account_id, book.currency);
        let account = store::ledger_accounts::insert(connection, payer, currency, kind, source, now).await?;
        book.add(account);
    }
    Ok(())
}

/// What may pay a bill of its day: vouchers up to their last day once active (DEC-29), and cash.
async fn sources(
    connection: &mut PgConnection,
    book: &Book,
    bill: &Bill,
    now: OffsetDateTime,
) -> Outcome<Vec<Source>> {
    let vouchers =
        store::vouchers::list_valid_on(connection, bill.billing_account_id, bill.usage_date).await?;
    let mut sources = Vec::with_capacity(vouchers.len() + 1);
    for voucher in vouchers.iter().filter(|voucher| voucher.may_pay(bill.usage_date, now)) {
        let source_id = Some(voucher.voucher_id.uuid());
        let kind = match voucher.kind {
            Kind::Plain => SourceKind::PlainVoucher,
            Kind::FullReduction => SourceKind::FullReductionVoucher,
        };
        sources.push(Source {
            kind,
            source_id,
            balance: book.balance((AccountKind::Voucher, source_id)).map_err(Failure::fatal)?,
            last_date: Some(voucher.last_date),
            activated_at: Some(voucher.activated_at),
        });
    }
    let balance = book.balance((AccountKind::Cash, None)).map_err(Failure::fatal)?;
    sources.push(Source {
        kind: SourceKind::Cash,
        source_id: None,
        balance,
        last_date: None,
        activated_at: None,
    });
    Ok(sources)
}

/// One transfer per source, and one for what is owed. Answers the transfer of each allocation.
fn post(book: &mut Book, bill: &Bill, deduction: &Deduction, now: OffsetDateTime) -> Outcome<Vec<Uuid>> {
    let income = (AccountKind::Income, None);
    let account = |part: &Allocation| -> AccountKey {
        match part.kind {
            SourceKind::PlainVoucher | SourceKind::FullReductionVoucher => {
                (AccountKind::Voucher, part.source_id)
            }
            SourceKind::PrepaidCard => (AccountKind::Card, part.source_id),
            SourceKind::Cash => (AccountKind::Cash, None),
            SourceKind::CloudAccount => (AccountKind::Cloud, part.source_id),
        }
    };
    let mut sums: Vec<(AccountKey, Money)> = Vec::new();
    for part in &deduction.allocations {
        match sums.iter_mut().find(|(key, _)| *key == account(part)) {
            Some((_, sum)) => *sum = sum.plus(part.amount).map_err(Failure::fatal)?,
            None => sums.push((account(part), part.amount)),
        }
    }
    let refused = |error| ledger_failure(error, bill.total).map(SettleRejection::Wallet);
    let mut transfers: HashMap<AccountKey, Uuid> = HashMap::new();
    for (key, sum) in sums {
        let posted = book.post(key, income, sum, (Code::Bill, bill.bill_id.uuid()), now);
        transfers.insert(key, posted.map_err(refused)?);
    }
    if deduction.owed.is_positive() {
        let code = (Code::BillOwed, bill.bill_id.uuid());
        book.post((AccountKind::Arrears, None), income, deduction.owed, code, now).map_err(refused)?;
    }
    let of = |part: &Allocation| transfers.get(&account(part)).copied();
    let transfers: Option<Vec<Uuid>> = deduction.allocations.iter().map(of).collect();
    transfers.ok_or_else(|| Failure::fatal("an allocation without its transfer"))
}
