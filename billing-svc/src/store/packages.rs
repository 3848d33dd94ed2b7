//! `billing.packages`: inserted once, never changed.

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, OrderId};
use sqlx::PgConnection;

use crate::domain::package::{Kind, Package};

/// Breaks `packages_overlap_excl` when another one has not ended.
pub async fn insert(connection: &mut PgConnection, package: &Package, contract: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into billing.packages (billing_account_id, order_id, kind, start_date, end_date, contract, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7)",
        package.billing_account_id.uuid(),
        package.order_id.uuid(),
        package.kind.word(),
        package.start_date.date(),
        package.end_date().date(),
        contract,
        package.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A billing account's packages, oldest first; with a day, only those that run on it or will.
pub async fn list(
    connection: &mut PgConnection,
    id: BillingAccountId,
    running_on: Option<UsageDate>,
    after: Option<OrderId>,
    limit: i64,
) -> sqlx::Result<Vec<Package>> {
    let rows = sqlx::query!(
        "select order_id, kind, start_date, created_at from billing.packages where billing_account_id = $1 \
         and ($2::date is null or end_date > $2) and ($3::uuid is null or order_id > $3) order by order_id limit $4",
        id.uuid(),
        running_on.map(UsageDate::date),
        after.map(OrderId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let mut packages = Vec::with_capacity(rows.len());
    for row in rows {
        let corrupt = |problem: &str| Corrupt::new("packages", row.order_id, problem);
        packages.push(Package {
            order_id: OrderId::from_uuid(row.order_id),
            billing_account_id: id,
            kind: Kind::from_word(&row.kind).ok_or_else(|| corrupt("kind"))?,
            start_date: UsageDate::from_date(row.start_date).map_err(|_| corrupt("start_date"))?,
            created_at: row.created_at,
        });
    }
    Ok(packages)
}
