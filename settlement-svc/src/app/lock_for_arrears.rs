//! Arrears lock what the wallet settles (DEC-42): whenever something is left owed, and whenever the wallet takes a workspace over.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, derived};
use chassis::money::Money;
use chassis::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use crate::peers::workspaces::{Order, arrears_event};
use crate::store;

/// Orders the lock of what a payer pays for by itself. Its book must be locked: the order stands between its payments and debts.
pub async fn order_lock(
    app: &App,
    connection: &mut PgConnection,
    payer: BillingAccountId,
    reason_id: Uuid,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let except = store::settlement_methods::by_cloud_account(&mut *connection, payer).await?;
    let order = arrears_event(Order::Lock, payer, &except, derived(reason_id, "arrears"));
    outbox::append(connection, app.schema, &order, now).await
}

/// Locks the book of a payer, if it has one. Answers what it owes; None when it owes nothing.
pub async fn hold_and_check<R>(
    connection: &mut PgConnection,
    payer: BillingAccountId,
) -> Result<Option<Money>, Failure<R>> {
    let book = store::ledger_accounts::lock_book(connection, payer).await?;
    let arrears = book.map(|book| book.arrears()).transpose().map_err(Failure::fatal)?;
    Ok(arrears.filter(|arrears| arrears.is_positive()))
}
