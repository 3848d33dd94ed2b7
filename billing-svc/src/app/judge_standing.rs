//! What a user is to a workspace or a bill: workspace-svc says it of the workspace, and the payer of a bill stands on the bill.

use chassis::auth::User;
use chassis::guard::{Guard, Judged, Object, Standing};

use super::App;
use crate::store;

impl Guard for App {
    fn standing(&self, user: User, object: Object) -> Judged<'_> {
        Box::pin(async move {
            match object {
                Object::Workspace(id) => self.standings.of_workspace(user, id).await,
                Object::Bill(id) => {
                    let bill = store::bills::get(&mut *self.pool.acquire().await?, id).await?;
                    match bill {
                        None => Ok(Standing::default()),
                        Some(bill) if user == User::Billing(bill.billing_account_id) => {
                            Ok(Standing { pays: true, ..Standing::default() })
                        }
                        // Who pays now does not see what another has paid.
                        Some(_) if matches!(user, User::Billing(_)) => Ok(Standing::default()),
                        Some(bill) => self.standings.of_workspace(user, bill.workspace_id).await,
                    }
                }
                Object::ConsoleAccount(_) | Object::BillingAccount(_) | Object::Registration(_) => {
                    Ok(Standing::default())
                }
            }
        })
    }
}
