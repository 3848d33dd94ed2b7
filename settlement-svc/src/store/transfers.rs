//! `settlement.transfers`: inserted, never changed.

use chassis::failure::Corrupt;
use chassis::id::BillingAccountId;
use chassis::money::{Currency, Money};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::ledger::Book;

/// Inserts what was posted to a book.
pub async fn insert(connection: &mut PgConnection, book: &Book) -> sqlx::Result<()> {
    let posted = book.posted();
    let ids: Vec<_> = posted.iter().map(|transfer| transfer.transfer_id).collect();
    let debits: Vec<_> = posted.iter().map(|transfer| transfer.debit_account_id).collect();
    let credits: Vec<_> = posted.iter().map(|transfer| transfer.credit_account_id).collect();
    let amounts: Vec<_> = posted.iter().map(|transfer| transfer.amount.amount()).collect();
    let codes: Vec<_> = posted.iter().map(|transfer| transfer.code.word().to_owned()).collect();
    let reasons: Vec<_> = posted.iter().map(|transfer| transfer.reason_id).collect();
    let times: Vec<_> = posted.iter().map(|transfer| transfer.posted_at).collect();
    sqlx::query!(
        "insert into settlement.transfers (billing_account_id, currency, transfer_id, debit_account_id, credit_account_id, \
         amount, code, reason_id, posted_at) select $1, $2, t.* from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::numeric[], \
         $7::text[], $8::uuid[], $9::timestamptz[]) as t",
        book.billing_account_id.uuid(),
        book.currency.code(),
        &ids,
        &debits,
        &credits,
        &amounts,
        &codes,
        &reasons,
        &times,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A movement as it is read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub transfer_id: Uuid,
    /// Why.
    pub code: String,
    /// The kind of account that was debited.
    pub debit_kind: String,
    /// The kind that was credited.
    pub credit_kind: String,
    /// How much.
    pub amount: Money,
    /// For which bill, voucher or payment.
    pub reason_id: Uuid,
    /// When.
    pub posted_at: OffsetDateTime,
}

/// The movements of a book, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query!(
        "select t.transfer_id, t.code, d.kind as debit_kind, c.kind as credit_kind, t.amount, t.currency, t.reason_id, t.posted_at \
         from settlement.transfers t \
         join settlement.ledger_accounts d \
           on d.billing_account_id = t.billing_account_id and d.ledger_account_id = t.debit_account_id \
         join settlement.ledger_accounts c \
           on c.billing_account_id = t.billing_account_id and c.ledger_account_id = t.credit_account_id \
         where t.billing_account_id = $1 and ($2::uuid is null or t.transfer_id > $2) order by t.transfer_id limit $3",
        id.uuid(),
        after,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let corrupt = |problem: &str| Corrupt::new("transfers", row.transfer_id, problem);
        let currency = row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?;
        entries.push(Entry {
            transfer_id: row.transfer_id,
            amount: Money::new(row.amount, currency).map_err(|_| corrupt("amount"))?,
            code: row.code,
            debit_kind: row.debit_kind,
            credit_kind: row.credit_kind,
            reason_id: row.reason_id,
            posted_at: row.posted_at,
        });
    }
    Ok(entries)
}
