//! `billing.bills`, `billing.bill_lines`, `billing.bill_chains` and `billing.account_entries`: inserted once, never changed, but for
//! the end of each chain.

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillId, BillingAccountId, RunId, WorkspaceId};
use chassis::money::{Currency, Money};
use chassis::site::SiteClass;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::bill::{Bill, ChainEnd, Kind};
use crate::domain::rating::BillLine;

struct Row {
    workspace_id: Uuid,
    bill_id: Uuid,
    usage_date: Date,
    kind: String,
    seq: i32,
    chain_number: i64,
    billing_account_id: Uuid,
    currency: String,
    site_class: String,
    price_version: i32,
    rule_set_version: i32,
    total: Decimal,
    sealed_digest: Vec<u8>,
    previous_digest: Vec<u8>,
    digest: Vec<u8>,
    run_id: Uuid,
    issued_at: OffsetDateTime,
}

impl TryFrom<Row> for Bill {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("bills", row.bill_id, problem);
        let currency = row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?;
        Ok(Self {
            bill_id: BillId::from_uuid(row.bill_id),
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            usage_date: UsageDate::from_date(row.usage_date).map_err(|_| corrupt("usage_date"))?,
            kind: Kind::from_word(&row.kind).ok_or_else(|| corrupt("kind"))?,
            seq: row.seq,
            chain_number: row.chain_number,
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            site_class: SiteClass::from_word(&row.site_class).map_err(|_| corrupt("site_class"))?,
            price_version: row.price_version,
            rule_set_version: row.rule_set_version,
            lines: Vec::new(),
            total: Money::new(row.total, currency).map_err(|_| corrupt("total"))?,
            sealed_digest: row.sealed_digest,
            previous_digest: row.previous_digest,
            digest: row.digest,
            run_id: RunId::from_uuid(row.run_id),
            issued_at: row.issued_at,
        })
    }
}

/// The end of a workspace's chain, locked until the transaction ends: bills of a workspace are issued one after the other.
pub async fn chain_end_for_update(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
) -> sqlx::Result<ChainEnd> {
    sqlx::query!(
        "insert into billing.bill_chains (workspace_id, last_number, last_digest) values ($1, 0, '') \
         on conflict on constraint bill_chains_pkey do nothing",
        workspace_id.uuid(),
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query!(
        "select last_number, last_digest from billing.bill_chains where workspace_id = $1 for update",
        workspace_id.uuid(),
    )
    .fetch_one(connection)
    .await?;
    Ok(ChainEnd { number: row.last_number, digest: row.last_digest })
}

/// Whether the day's bill is there.
pub async fn daily_exists(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from billing.bills
             where workspace_id = $1 and usage_date = $2 and kind = 'DAILY' and seq = 1) as "exists!""#,
        workspace_id.uuid(),
        day.date(),
    )
    .fetch_one(connection)
    .await
}

/// The bill, its lines, its payer's entry, and the new end of the chain.
pub async fn insert(connection: &mut PgConnection, bill: &Bill) -> sqlx::Result<()> {
    insert_head(&mut *connection, bill).await?;
    insert_lines(&mut *connection, bill).await?;
    sqlx::query!(
        "insert into billing.account_entries (billing_account_id, bill_id, workspace_id, usage_date, kind, total, currency, \
         issued_at) values ($1, $2, $3, $4, $5, $6, $7, $8)",
        bill.billing_account_id.uuid(),
        bill.bill_id.uuid(),
        bill.workspace_id.uuid(),
        bill.usage_date.date(),
        bill.kind.word(),
        bill.total.amount(),
        bill.total.currency().code(),
        bill.issued_at,
    )
    .execute(&mut *connection)
    .await?;
    let moved = sqlx::query!(
        "update billing.bill_chains set last_number = $2, last_digest = $3 where workspace_id = $1 and last_number = $2::bigint - 1",
        bill.workspace_id.uuid(),
        bill.chain_number,
        bill.digest,
    )
    .execute(connection)
    .await?;
    if moved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Corrupt::new("bill_chains", bill.workspace_id, "moved").into())
    }
}

async fn insert_head(connection: &mut PgConnection, bill: &Bill) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into billing.bills (workspace_id, bill_id, usage_date, kind, seq, chain_number, billing_account_id, currency, \
         site_class, price_version, rule_set_version, total, sealed_digest, previous_digest, canonical, digest, run_id, issued_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        bill.workspace_id.uuid(),
        bill.bill_id.uuid(),
        bill.usage_date.date(),
        bill.kind.word(),
        bill.seq,
        bill.chain_number,
        bill.billing_account_id.uuid(),
        bill.total.currency().code(),
        bill.site_class.word(),
        bill.price_version,
        bill.rule_set_version,
        bill.total.amount(),
        bill.sealed_digest,
        bill.previous_digest,
        bill.canonical(),
        bill.digest,
        bill.run_id.uuid(),
        bill.issued_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_lines(connection: &mut PgConnection, bill: &Bill) -> sqlx::Result<()> {
    let numbers: Vec<i32> = (1..).take(bill.lines.len()).collect();
    let items: Vec<_> = bill.lines.iter().map(|line| line.item.clone()).collect();
    let dimensions: Vec<_> = bill.lines.iter().map(|line| line.dimension.clone()).collect();
    let retentions: Vec<_> = bill.lines.iter().map(|line| line.retention_days).collect();
    let quantities: Vec<_> = bill.lines.iter().map(|line| line.quantity).collect();
    let sizes: Vec<_> = bill.lines.iter().map(|line| line.unit_size).collect();
    let units: Vec<_> = bill.lines.iter().map(|line| line.units).collect();
    let prices: Vec<_> = bill.lines.iter().map(|line| line.unit_price).collect();
    let discounts: Vec<_> = bill.lines.iter().map(|line| line.discount).collect();
    let list_amounts: Vec<_> = bill.lines.iter().map(|line| line.list_amount).collect();
    let amounts: Vec<_> = bill.lines.iter().map(|line| line.amount.amount()).collect();
    let restricted: Vec<_> = bill.lines.iter().map(|line| line.is_restricted).collect();
    sqlx::query!(
        "insert into billing.bill_lines (workspace_id, bill_id, line_number, item, dimension, retention_days, quantity, unit_size, \
         units, unit_price, discount, list_amount, amount, is_restricted) \
         select $1, $2, l.* from unnest($3::integer[], $4::text[], $5::text[], $6::integer[], $7::numeric[], $8::numeric[], \
         $9::numeric[], $10::numeric[], $11::numeric[], $12::numeric[], $13::numeric[], $14::boolean[]) as l",
        bill.workspace_id.uuid(),
        bill.bill_id.uuid(),
        &numbers,
        &items,
        &dimensions,
        &retentions,
        &quantities,
        &sizes,
        &units,
        &prices,
        &discounts,
        &list_amounts,
        &amounts,
        &restricted,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// One bill with its lines.
pub async fn get(connection: &mut PgConnection, id: BillId) -> sqlx::Result<Option<Bill>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, bill_id, usage_date, kind, seq, chain_number, billing_account_id, currency, site_class, \
         price_version, rule_set_version, total, sealed_digest, previous_digest, digest, run_id, issued_at \
         from billing.bills where bill_id = $1",
        id.uuid(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut bill = Bill::try_from(row)?;
    bill.lines = lines(connection, &bill).await?;
    Ok(Some(bill))
}

struct LineRow {
    item: String,
    dimension: String,
    retention_days: i32,
    quantity: Decimal,
    unit_size: Decimal,
    units: Decimal,
    unit_price: Decimal,
    discount: Decimal,
    list_amount: Decimal,
    amount: Decimal,
    is_restricted: bool,
}

async fn lines(connection: &mut PgConnection, bill: &Bill) -> sqlx::Result<Vec<BillLine>> {
    let rows = sqlx::query_as!(
        LineRow,
        "select item, dimension, retention_days, quantity, unit_size, units, unit_price, discount, list_amount, amount, \
         is_restricted from billing.bill_lines where workspace_id = $1 and bill_id = $2 order by line_number",
        bill.workspace_id.uuid(),
        bill.bill_id.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let line = |row: LineRow| -> sqlx::Result<BillLine> {
        let amount = Money::new(row.amount, bill.total.currency());
        Ok(BillLine {
            item: row.item,
            dimension: row.dimension,
            retention_days: row.retention_days,
            quantity: row.quantity,
            unit_size: row.unit_size,
            units: row.units,
            unit_price: row.unit_price,
            discount: row.discount,
            list_amount: row.list_amount,
            amount: amount.map_err(|error| Corrupt::new("bill_lines", bill.bill_id, error))?,
            is_restricted: row.is_restricted,
        })
    };
    rows.into_iter().map(line).collect()
}

/// Whose bills are listed.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// Of a workspace.
    Workspace(WorkspaceId),
    /// Of a payer.
    Payer(BillingAccountId),
    /// Of a workspace, as far as this payer paid.
    PaidBy(WorkspaceId, BillingAccountId),
}

/// Bills without their lines, newest first.
pub async fn list(
    connection: &mut PgConnection,
    of: Of,
    day: Option<UsageDate>,
    before: Option<BillId>,
    limit: i64,
) -> sqlx::Result<Vec<Bill>> {
    let (workspace_id, payer) = match of {
        Of::Workspace(id) => (Some(id.uuid()), None),
        Of::Payer(id) => (None, Some(id.uuid())),
        Of::PaidBy(id, payer) => (Some(id.uuid()), Some(payer.uuid())),
    };
    let rows = sqlx::query_as!(
        Row,
        "select b.workspace_id, b.bill_id, b.usage_date, b.kind, b.seq, b.chain_number, b.billing_account_id, b.currency, \
         b.site_class, b.price_version, b.rule_set_version, b.total, b.sealed_digest, b.previous_digest, b.digest, b.run_id, b.issued_at \
         from billing.bills b \
         where ($1::uuid is null or b.workspace_id = $1) \
           and ($2::uuid is null or (b.workspace_id, b.bill_id) in \
             (select e.workspace_id, e.bill_id from billing.account_entries e where e.billing_account_id = $2)) \
           and ($3::date is null or b.usage_date = $3) and ($4::uuid is null or b.bill_id < $4) \
         order by b.bill_id desc limit $5",
        workspace_id,
        payer,
        day.map(UsageDate::date),
        before.map(BillId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Bill::try_from(row)?)).collect()
}

/// How many daily bills a payer has, and how many of its bills have no settlement.
pub async fn count(connection: &mut PgConnection, payer: BillingAccountId) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select count(*) filter (where e.kind = 'DAILY') as "daily!",
             count(*) filter (where not exists (select 1 from billing.bill_settlements s
               where s.workspace_id = e.workspace_id and s.bill_id = e.bill_id)) as "unsettled!"
           from billing.account_entries e where e.billing_account_id = $1"#,
        payer.uuid(),
    )
    .fetch_one(connection)
    .await?;
    Ok((row.daily, row.unsettled))
}
