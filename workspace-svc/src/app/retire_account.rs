//! Keeps everything away from an account that is being closed (ACC-19, ACC-20): once it is retired, nothing is bound to it or handed to it.

use chassis::audit;
use chassis::auth::User;
use chassis::civil::UsageDate;
use chassis::failure::Failure;
use time::Duration;

use super::App;
use super::change_workspace::gone_before;
use crate::store;

/// The precondition that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireRejection {
    /// A workspace is bound to it.
    Bound,
    /// A workspace that it paid for can still be restored.
    Restorable,
    /// It owns a workspace.
    Owns,
    /// A day that it pays for is not sealed, or could not be for one of its workspaces.
    NotSealed(UsageDate),
}

/// An account that nothing is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// The last day that it pays for.
    pub last_day: Option<UsageDate>,
    /// How many days of workspaces are its to pay.
    pub sealed_day_count: i64,
}

/// Retires it, or refuses and leaves it as it was.
pub async fn retire_account(app: &App, account: User) -> Result<Retired, Failure<RetireRejection>> {
    let now = app.clock.now();
    let rejected = |rejection| Err(Failure::Rejected(rejection));
    let mut tx = app.pool.begin().await?;
    store::retired_accounts::insert(&mut tx, account, now).await?;
    let last = match account {
        User::Console(owner) => {
            if store::workspaces::owns_any(&mut tx, owner, gone_before(app)).await? {
                return rejected(RetireRejection::Owns);
            }
            store::members::delete_everywhere(&mut tx, owner).await?;
            None
        }
        User::Billing(payer) => {
            let bound = store::bindings::bound_to(&mut tx, payer, now, gone_before(app)).await?;
            if bound.now {
                return rejected(RetireRejection::Bound);
            }
            if bound.restorable {
                return rejected(RetireRejection::Restorable);
            }
            bound.last_until.map(|until| UsageDate::of(until - Duration::MICROSECOND))
        }
    };
    let mut sealed_day_count = 0;
    if let User::Billing(payer) = account {
        if let Some(day) = store::bindings::first_unsealed_day(&mut tx, payer).await? {
            return rejected(RetireRejection::NotSealed(day));
        }
        sealed_day_count = store::sealed_days::count_of_payer(&mut tx, payer).await?;
    }
    audit::note(&mut tx, app.schema, "BindingService/Retire", &[account.to_string()]).await?;
    tx.commit().await?;
    chassis::fault::point("account.retired");
    Ok(Retired { last_day: last, sealed_day_count })
}

/// Takes it back.
pub async fn unretire_account(app: &App, account: User) -> sqlx::Result<()> {
    let mut tx = app.pool.begin().await?;
    store::retired_accounts::delete(&mut tx, account).await?;
    audit::note(&mut tx, app.schema, "BindingService/Unretire", &[account.to_string()]).await?;
    tx.commit().await
}
