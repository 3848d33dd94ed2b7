//! A further payer, apart from any registration.

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, Outcome};
use chassis::money::Currency;

use super::App;
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::{BillingAccount, BillingProfile};
use crate::domain::email::Email;
use crate::domain::username::Username;
use crate::store;

/// Why there is no new account.
#[derive(Debug)]
pub enum CreateRejection {
    /// Another account has the name.
    UsernameTaken,
}

/// Makes the account, once per request.
pub async fn create_billing_account(
    app: &App,
    request: &Idempotent<BillingAccount>,
    username: Username,
    currency: Currency,
    email: Option<Email>,
) -> Result<Outcome<BillingAccount>, Failure<CreateRejection>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let account = BillingAccount {
        billing_account_id: BillingAccountId::new(now),
        username,
        currency,
        email,
        phone: None,
        profile: BillingProfile::default(),
        enterprise: None,
        state: AccountState::Open,
        created_at: now,
    };
    if !store::billing_accounts::insert(&mut tx, &account).await? {
        return Err(Failure::Rejected(CreateRejection::UsernameTaken));
    }
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}
