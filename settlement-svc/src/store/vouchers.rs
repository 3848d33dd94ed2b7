//! `settlement.vouchers`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, VoucherId};
use chassis::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::domain::voucher::{Kind, Voucher};

struct Row {
    billing_account_id: Uuid,
    voucher_id: Uuid,
    kind: String,
    face_value: Decimal,
    currency: String,
    activated_at: OffsetDateTime,
    last_date: Date,
}

impl TryFrom<Row> for Voucher {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("vouchers", row.voucher_id, problem);
        let currency = row.currency.parse::<Currency>().map_err(|_| corrupt("currency"))?;
        Ok(Self {
            voucher_id: VoucherId::from_uuid(row.voucher_id),
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            kind: Kind::from_word(&row.kind).ok_or_else(|| corrupt("kind"))?,
            face_value: Money::new(row.face_value, currency).map_err(|_| corrupt("face_value"))?,
            activated_at: row.activated_at,
            last_date: UsageDate::from_date(row.last_date).map_err(|_| corrupt("last_date"))?,
        })
    }
}

pub async fn insert(
    connection: &mut PgConnection,
    voucher: &Voucher,
    grant_reason: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement.vouchers (billing_account_id, voucher_id, kind, face_value, currency, activated_at, last_date, \
         grant_reason) values ($1, $2, $3, $4, $5, $6, $7, $8)",
        voucher.billing_account_id.uuid(),
        voucher.voucher_id.uuid(),
        voucher.kind.word(),
        voucher.face_value.amount(),
        voucher.face_value.currency().code(),
        voucher.activated_at,
        voucher.last_date.date(),
        grant_reason,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The vouchers whose last day is on or after a day.
pub async fn list_valid_on(
    connection: &mut PgConnection,
    id: BillingAccountId,
    day: UsageDate,
) -> sqlx::Result<Vec<Voucher>> {
    let rows = sqlx::query_as!(
        Row,
        "select billing_account_id, voucher_id, kind, face_value, currency, activated_at, last_date \
         from settlement.vouchers where billing_account_id = $1 and last_date >= $2",
        id.uuid(),
        day.date(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Voucher::try_from(row)?)).collect()
}

/// A billing account's vouchers, oldest first.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    after: Option<VoucherId>,
    limit: i64,
) -> sqlx::Result<Vec<Voucher>> {
    let rows = sqlx::query_as!(
        Row,
        "select billing_account_id, voucher_id, kind, face_value, currency, activated_at, last_date \
         from settlement.vouchers where billing_account_id = $1 and ($2::uuid is null or voucher_id > $2) \
         order by voucher_id limit $3",
        id.uuid(),
        after.map(VoucherId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Voucher::try_from(row)?)).collect()
}
