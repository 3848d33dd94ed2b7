//! Notes a yearly package that was sold, and reads packages.

use chassis::civil::UsageDate;
use chassis::failure::{Failure, broken_constraint};
use chassis::id::{BillingAccountId, OrderId};
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use crate::domain::package::{Kind, Package};
use crate::store;

/// The account has a package that has not ended.
#[derive(Debug)]
pub struct PackageRuns(pub BillingAccountId);

/// Notes it, once per request; it runs from the next day on.
pub async fn register_package(
    app: &App,
    request: &Idempotent<Package>,
    id: BillingAccountId,
    kind: Kind,
    contract: &str,
) -> Result<Outcome<Package>, Failure<PackageRuns>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let package = Package {
        order_id: OrderId::new(now),
        billing_account_id: id,
        kind,
        start_date: UsageDate::of(now).next(),
        created_at: now,
    };
    let inserted = store::packages::insert(&mut tx, &package, contract).await;
    inserted.map_err(|error| match broken_constraint(&error) {
        Some("packages_overlap_excl") => Failure::Rejected(PackageRuns(id)),
        _ => Failure::from(error),
    })?;
    request.store(&mut tx, app.schema, &package).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(package))
}

/// A billing account's packages, oldest first.
pub async fn packages(
    app: &App,
    id: BillingAccountId,
    running_on: Option<UsageDate>,
    after: Option<OrderId>,
    limit: i64,
) -> sqlx::Result<Vec<Package>> {
    store::packages::list(&mut *app.pool.acquire().await?, id, running_on, after, limit).await
}
