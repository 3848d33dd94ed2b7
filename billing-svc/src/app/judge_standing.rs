//! What a user is to a workspace or a bill: workspace-svc says it of the workspace, and the payer of a bill stands on the bill.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::guard::{Guard, Judged, Object, Standing};
use chassis::id::WorkspaceId;
use chassis::status::Refusal;
use tokio::sync::Mutex;

use super::App;
use crate::store;

/// An answer of workspace-svc is kept so long: by then a former owner has lost the workspace.
const KEPT_MAX: Duration = Duration::from_secs(10);
/// More answers are not kept: the old ones go, and if none is old, all.
const ANSWERS_MAX: usize = 10_000;

type Answers = HashMap<(User, WorkspaceId), (Instant, Standing)>;

/// The answers of the last seconds.
#[derive(Default)]
pub struct KnownStandings(Mutex<Answers>);

impl KnownStandings {
    async fn find(&self, key: (User, WorkspaceId)) -> Option<Standing> {
        let answers = self.0.lock().await;
        answers.get(&key).filter(|(at, _)| at.elapsed() < KEPT_MAX).map(|(_, standing)| *standing)
    }

    async fn keep(&self, key: (User, WorkspaceId), asked: Instant, standing: Standing) {
        let mut answers = self.0.lock().await;
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (at, _)| at.elapsed() < KEPT_MAX);
        }
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, (asked, standing));
    }
}

async fn of_workspace(app: &App, user: User, id: WorkspaceId) -> Result<Standing, Failure<Refusal>> {
    if let Some(standing) = app.standings.find((user, id)).await {
        return Ok(standing);
    }
    // Its age counts from before the question: what changed while it was answered is not kept longer.
    let asked = Instant::now();
    let standing = app.workspaces.standing(user, id).await?;
    app.standings.keep((user, id), asked, standing).await;
    Ok(standing)
}

impl Guard for App {
    fn standing(&self, user: User, object: Object) -> Judged<'_> {
        Box::pin(async move {
            match object {
                Object::Workspace(id) => of_workspace(self, user, id).await,
                Object::Bill(id) => {
                    let bill = store::bills::get(&mut *self.pool.acquire().await?, id).await?;
                    match bill {
                        None => Ok(Standing::default()),
                        Some(bill) if user == User::Billing(bill.billing_account_id) => {
                            Ok(Standing { pays: true, ..Standing::default() })
                        }
                        // Who pays now does not see what another has paid.
                        Some(_) if matches!(user, User::Billing(_)) => Ok(Standing::default()),
                        Some(bill) => of_workspace(self, user, bill.workspace_id).await,
                    }
                }
                Object::ConsoleAccount(_) | Object::BillingAccount(_) | Object::Registration(_) => {
                    Ok(Standing::default())
                }
            }
        })
    }
}
