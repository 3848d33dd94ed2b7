//! `billing.bill_settlements`

use std::collections::HashMap;

use chassis::failure::Corrupt;
use chassis::id::{BillId, SettlementId};
use chassis::money::Money;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::bill::{Bill, BillSettlement};

struct Row {
    bill_id: Uuid,
    settlement_id: Option<Uuid>,
    voucher_amount: Decimal,
    card_amount: Decimal,
    cash_amount: Decimal,
    cloud_amount: Decimal,
    owed_amount: Decimal,
    settled_at: OffsetDateTime,
}

/// False when the bill has a settlement already.
pub async fn insert(
    connection: &mut PgConnection,
    bill: &Bill,
    settlement: &BillSettlement,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into billing.bill_settlements (workspace_id, bill_id, settlement_id, voucher_amount, card_amount, cash_amount, \
         cloud_amount, owed_amount, settled_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         on conflict on constraint bill_settlements_pkey do nothing",
        bill.workspace_id.uuid(),
        bill.bill_id.uuid(),
        settlement.settlement_id.map(SettlementId::uuid),
        settlement.voucher.amount(),
        settlement.card.amount(),
        settlement.cash.amount(),
        settlement.cloud.amount(),
        settlement.owed.amount(),
        settlement.settled_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The settlements of these bills.
pub async fn list(
    connection: &mut PgConnection,
    bills: &[Bill],
) -> sqlx::Result<HashMap<BillId, BillSettlement>> {
    let workspaces: Vec<_> = bills.iter().map(|bill| bill.workspace_id.uuid()).collect();
    let ids: Vec<_> = bills.iter().map(|bill| bill.bill_id.uuid()).collect();
    let rows = sqlx::query_as!(
        Row,
        "select s.bill_id, s.settlement_id, s.voucher_amount, s.card_amount, s.cash_amount, s.cloud_amount, s.owed_amount, \
         s.settled_at from billing.bill_settlements s \
         join unnest($1::uuid[], $2::uuid[]) as k (workspace_id, bill_id) \
           on k.workspace_id = s.workspace_id and k.bill_id = s.bill_id",
        &workspaces,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let currencies: HashMap<Uuid, _> =
        bills.iter().map(|bill| (bill.bill_id.uuid(), bill.total.currency())).collect();
    let settlement = |row: Row| -> sqlx::Result<(BillId, BillSettlement)> {
        let corrupt = |problem: &str| Corrupt::new("bill_settlements", row.bill_id, problem);
        let currency = *currencies.get(&row.bill_id).ok_or_else(|| corrupt("bill"))?;
        let money = |amount: Decimal| Money::new(amount, currency).map_err(|_| corrupt("amount"));
        let settlement = BillSettlement {
            settlement_id: row.settlement_id.map(SettlementId::from_uuid),
            voucher: money(row.voucher_amount)?,
            card: money(row.card_amount)?,
            cash: money(row.cash_amount)?,
            cloud: money(row.cloud_amount)?,
            owed: money(row.owed_amount)?,
            settled_at: row.settled_at,
        };
        Ok((BillId::from_uuid(row.bill_id), settlement))
    };
    rows.into_iter().map(settlement).collect()
}
