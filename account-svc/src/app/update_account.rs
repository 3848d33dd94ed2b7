//! Changes what an account says of itself, and what an operator has verified of it.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId};
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use super::change_contact::{ChangeRejection, open_billing_account, open_console_account};
use crate::domain::billing_account::{BillingAccount, BillingProfile, Enterprise, TaxpayerNumber};
use crate::domain::console_account::ConsoleAccount;
use crate::store;

/// Changes what a console account is called, once per request.
pub async fn rename_console_account(
    app: &App,
    request: &Idempotent<ConsoleAccount>,
    id: ConsoleAccountId,
    display_name: String,
) -> Result<Outcome<ConsoleAccount>, Failure<ChangeRejection>> {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut account = open_console_account(&mut tx, id).await?;
    store::console_accounts::update_display_name(&mut tx, id, &display_name).await?;
    account.display_name = display_name;
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// New values of fields of a profile.
pub type ProfileChange = Box<dyn Fn(&mut BillingProfile) + Send + Sync>;

/// Changes fields of a billing account's profile, once per request (ACC-11).
pub async fn change_profile(
    app: &App,
    request: &Idempotent<BillingAccount>,
    id: BillingAccountId,
    change: ProfileChange,
) -> Result<Outcome<BillingAccount>, Failure<ChangeRejection>> {
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, app.clock.now()).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut account = open_billing_account(&mut tx, id).await?;
    change(&mut account.profile);
    store::billing_accounts::update_profile(&mut tx, id, &account.profile).await?;
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}

/// Notes which enterprise a billing account is, once per request (ACC-14).
pub async fn verify_enterprise(
    app: &App,
    request: &Idempotent<BillingAccount>,
    id: BillingAccountId,
    (company_name, taxpayer_number): (String, TaxpayerNumber),
    evidence: &str,
) -> Result<Outcome<BillingAccount>, Failure<ChangeRejection>> {
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let mut account = open_billing_account(&mut tx, id).await?;
    let enterprise = Enterprise { company_name, taxpayer_number, verified_at: now };
    store::billing_accounts::update_enterprise(&mut tx, id, &enterprise, evidence).await?;
    account.enterprise = Some(enterprise);
    request.store(&mut tx, app.schema, &account).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(account))
}
