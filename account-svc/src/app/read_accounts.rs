//! Reads, which need no journey each.

use chassis::id::{BillingAccountId, ConsoleAccountId, RegistrationId};
use chassis::site::Site;
use sqlx::Result;

use super::App;
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::BillingAccount;
use crate::domain::console_account::ConsoleAccount;
use crate::domain::email::Email;
use crate::domain::registration::Registration;
use crate::domain::username::Username;
use crate::store;

/// One console account.
pub async fn console_account(app: &App, id: ConsoleAccountId) -> Result<Option<ConsoleAccount>> {
    store::console_accounts::get(&mut *app.pool.acquire().await?, id).await
}

/// The console account of an identity, unless it is closed.
pub async fn console_account_of(app: &App, site: Site, email: &Email) -> Result<Option<ConsoleAccount>> {
    let found = store::console_accounts::find_by_email(&mut *app.pool.acquire().await?, site, email).await?;
    Ok(found.filter(|account| account.state != AccountState::Closed))
}

/// The billing account of an identity, unless it is closed.
pub async fn billing_account_of(app: &App, username: &Username) -> Result<Option<BillingAccount>> {
    let found = store::billing_accounts::find_by_username(&mut *app.pool.acquire().await?, username).await?;
    Ok(found.filter(|account| account.state != AccountState::Closed))
}

/// Console accounts, in order of creation.
pub async fn console_accounts(
    app: &App,
    after: Option<ConsoleAccountId>,
    limit: i64,
) -> Result<Vec<ConsoleAccount>> {
    store::console_accounts::list(&mut *app.pool.acquire().await?, after, limit).await
}

/// One billing account.
pub async fn billing_account(app: &App, id: BillingAccountId) -> Result<Option<BillingAccount>> {
    store::billing_accounts::get(&mut *app.pool.acquire().await?, id).await
}

/// Billing accounts, in order of creation.
pub async fn billing_accounts(
    app: &App,
    after: Option<BillingAccountId>,
    limit: i64,
) -> Result<Vec<BillingAccount>> {
    store::billing_accounts::list(&mut *app.pool.acquire().await?, after, limit).await
}

/// One registration.
pub async fn registration(app: &App, id: RegistrationId) -> Result<Option<Registration>> {
    store::registrations::get(&mut *app.pool.acquire().await?, id).await
}
