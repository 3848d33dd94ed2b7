//! Reads of settlement methods, cloud accounts and subscriptions.

use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId};
use sqlx::{PgConnection, Result};
use time::{Duration, OffsetDateTime};

use super::App;
use crate::domain::cloud_account::{Subscription, Vendor};
use crate::domain::settlement_method::SettlementMethod;
use crate::store;
pub use crate::store::cloud_account_claims::CloudAccount;

/// A method, with what it names.
#[derive(Debug, Clone)]
pub struct Described {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// None: the billing account, ever since.
    pub method: Option<SettlementMethod>,
    /// The subscription that settles.
    pub subscription: Option<Subscription>,
    /// The marketplace that the workspace came through.
    pub channel: Option<Vendor>,
}

/// A method with what it names, as it stands in this transaction.
pub async fn describe(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    method: Option<SettlementMethod>,
) -> Result<Described> {
    let subscription = match method.as_ref().and_then(|method| method.subscription) {
        Some(id) => store::subscriptions::get(&mut *connection, id).await?,
        None => None,
    };
    let channel = match store::settlement_methods::activation(&mut *connection, workspace_id).await? {
        Some(id) => store::subscriptions::get(connection, id).await?.map(|found| found.purchase.vendor),
        None => None,
    };
    Ok(Described { workspace_id, method, subscription, channel })
}

/// The method that is in force now.
pub async fn method(app: &App, id: WorkspaceId) -> Result<Described> {
    let mut connection = app.pool.acquire().await?;
    let until_now = app.clock.now() + Duration::MICROSECOND;
    let method = store::settlement_methods::in_force(&mut connection, id, until_now).await?;
    describe(&mut connection, id, method).await
}

/// Methods that a workspace has had, oldest first.
pub async fn methods(
    app: &App,
    id: WorkspaceId,
    after: Option<OffsetDateTime>,
    limit: i64,
) -> Result<Vec<Described>> {
    let mut connection = app.pool.acquire().await?;
    let mut described = Vec::new();
    for method in store::settlement_methods::list(&mut connection, id, after, limit).await? {
        described.push(describe(&mut connection, id, Some(method)).await?);
    }
    Ok(described)
}

/// The cloud accounts of a billing account.
pub async fn cloud_accounts(
    app: &App,
    id: BillingAccountId,
    after: Option<(&str, &str)>,
    limit: i64,
) -> Result<Vec<CloudAccount>> {
    store::cloud_account_claims::list(&mut *app.pool.acquire().await?, id, after, limit).await
}

/// The subscriptions of a billing account, oldest first.
pub async fn subscriptions(
    app: &App,
    id: BillingAccountId,
    after: Option<SubscriptionId>,
    limit: i64,
) -> Result<Vec<Subscription>> {
    store::subscriptions::list(&mut *app.pool.acquire().await?, id, after, limit).await
}
