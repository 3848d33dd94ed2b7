//! `settlement.settlements` and `settlement.allocations`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillId, BillingAccountId, SettlementId, SubscriptionId, WorkspaceId};
use chassis::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::deduction::{Allocation, SourceKind};
use crate::domain::repayment::Owed;
use crate::domain::settlement::Settlement;

struct Row {
    billing_account_id: Uuid,
    bill_id: Uuid,
    settlement_id: Uuid,
    workspace_id: Uuid,
    usage_date: Date,
    subscription_id: Option<Uuid>,
    currency: String,
    total: Decimal,
    owed: Decimal,
    owed_remaining: Decimal,
    bill_digest: Vec<u8>,
    settled_at: OffsetDateTime,
}

impl TryFrom<Row> for Settlement {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("settlements", row.bill_id, problem);
        let currency = row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?;
        let money = |amount: Decimal| Money::new(amount, currency).map_err(|_| corrupt("amount"));
        Ok(Self {
            settlement_id: SettlementId::from_uuid(row.settlement_id),
            bill_id: BillId::from_uuid(row.bill_id),
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            usage_date: UsageDate::from_date(row.usage_date).map_err(|_| corrupt("usage_date"))?,
            subscription: row.subscription_id.map(SubscriptionId::from_uuid),
            total: money(row.total)?,
            owed: money(row.owed)?,
            owed_remaining: money(row.owed_remaining)?,
            bill_digest: row.bill_digest.clone(),
            allocations: Vec::new(),
            settled_at: row.settled_at,
        })
    }
}

/// The settlement and its allocations; `transfers` names the transfer of each allocation.
// The macro's own syntax for an array with nulls.
#[allow(clippy::as_conversions)]
pub async fn insert(
    connection: &mut PgConnection,
    settlement: &Settlement,
    transfers: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement.settlements (billing_account_id, bill_id, settlement_id, workspace_id, usage_date, method, \
         currency, total, owed, owed_remaining, bill_digest, settled_at, subscription_id) \
         values ($1, $2, $3, $4, $5, $12, $6, $7, $8, $9, $10, $11, $13)",
        settlement.billing_account_id.uuid(),
        settlement.bill_id.uuid(),
        settlement.settlement_id.uuid(),
        settlement.workspace_id.uuid(),
        settlement.usage_date.date(),
        settlement.total.currency().code(),
        settlement.total.amount(),
        settlement.owed.amount(),
        settlement.owed_remaining.amount(),
        settlement.bill_digest,
        settlement.settled_at,
        if settlement.subscription.is_some() { "CLOUD_ACCOUNT" } else { "BILLING_ACCOUNT" },
        settlement.subscription.map(SubscriptionId::uuid),
    )
    .execute(&mut *connection)
    .await?;
    let parts = &settlement.allocations;
    let seqs: Vec<i32> = (1..).take(parts.len()).collect();
    let lines: Vec<_> = parts.iter().map(|part| part.line_number).collect();
    let kinds: Vec<_> = parts.iter().map(|part| part.kind.word().to_owned()).collect();
    let sources: Vec<_> = parts.iter().map(|part| part.source_id).collect();
    let amounts: Vec<_> = parts.iter().map(|part| part.amount.amount()).collect();
    sqlx::query!(
        "insert into settlement.allocations (billing_account_id, bill_id, seq, line_number, source, source_id, amount, \
         transfer_id) select $1, $2, a.* from unnest($3::integer[], $4::integer[], $5::text[], $6::uuid[], $7::numeric[], \
         $8::uuid[]) as a",
        settlement.billing_account_id.uuid(),
        settlement.bill_id.uuid(),
        &seqs,
        &lines,
        &kinds,
        &sources as &[Option<Uuid>],
        &amounts,
        transfers,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The settlement of a bill, with its allocations.
pub async fn get(
    connection: &mut PgConnection,
    id: BillingAccountId,
    bill_id: BillId,
) -> sqlx::Result<Option<Settlement>> {
    let row = sqlx::query_as!(
        Row,
        "select billing_account_id, bill_id, settlement_id, workspace_id, usage_date, subscription_id, currency, total, owed, owed_remaining, \
         bill_digest, settled_at from settlement.settlements where billing_account_id = $1 and bill_id = $2",
        id.uuid(),
        bill_id.uuid(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut settlement = Settlement::try_from(row)?;
    settlement.allocations = allocations(connection, &settlement).await?;
    Ok(Some(settlement))
}

async fn allocations(
    connection: &mut PgConnection,
    settlement: &Settlement,
) -> sqlx::Result<Vec<Allocation>> {
    let rows = sqlx::query!(
        "select line_number, source, source_id, amount from settlement.allocations \
         where billing_account_id = $1 and bill_id = $2 order by seq",
        settlement.billing_account_id.uuid(),
        settlement.bill_id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows {
        let corrupt = |problem: &str| Corrupt::new("allocations", settlement.bill_id, problem);
        parts.push(Allocation {
            line_number: row.line_number,
            kind: SourceKind::from_word(&row.source).ok_or_else(|| corrupt("source"))?,
            source_id: row.source_id,
            amount: Money::new(row.amount, settlement.total.currency()).map_err(|_| corrupt("amount"))?,
        });
    }
    Ok(parts)
}

/// Whether a bill was settled by another payer.
pub async fn exists_elsewhere(
    connection: &mut PgConnection,
    id: BillingAccountId,
    bill_id: BillId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from settlement.settlements where bill_id = $2 and billing_account_id <> $1) as "exists!""#,
        id.uuid(),
        bill_id.uuid(),
    )
    .fetch_one(connection)
    .await
}

/// A payer's settlements without their allocations, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    after: Option<SettlementId>,
    limit: i64,
) -> sqlx::Result<Vec<Settlement>> {
    let rows = sqlx::query_as!(
        Row,
        "select billing_account_id, bill_id, settlement_id, workspace_id, usage_date, subscription_id, currency, total, owed, owed_remaining, \
         bill_digest, settled_at from settlement.settlements \
         where billing_account_id = $1 and ($2::uuid is null or settlement_id > $2) order by settlement_id limit $3",
        id.uuid(),
        after.map(SettlementId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Settlement::try_from(row)?)).collect()
}

/// Bills of which something is owed, oldest usage day first.
pub async fn list_owed(
    connection: &mut PgConnection,
    id: BillingAccountId,
    currency: Currency,
) -> sqlx::Result<Vec<Owed>> {
    let rows = sqlx::query!(
        "select bill_id, owed_remaining from settlement.settlements \
         where billing_account_id = $1 and owed_remaining > 0 order by usage_date, settlement_id",
        id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let mut owed = Vec::with_capacity(rows.len());
    for row in rows {
        let remaining = Money::new(row.owed_remaining, currency);
        owed.push(Owed {
            bill_id: BillId::from_uuid(row.bill_id),
            remaining: remaining.map_err(|error| Corrupt::new("settlements", row.bill_id, error))?,
        });
    }
    Ok(owed)
}

/// Takes what was repaid off what is owed of a bill.
pub async fn reduce_owed(
    connection: &mut PgConnection,
    id: BillingAccountId,
    repaid: &Owed,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update settlement.settlements set owed_remaining = owed_remaining - $3 \
         where billing_account_id = $1 and bill_id = $2",
        id.uuid(),
        repaid.bill_id.uuid(),
        repaid.remaining.amount(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
