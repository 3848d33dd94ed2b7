//! What an account is to a workspace: its owner, a member, or who pays for it.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::guard::{Guard, Judged, Object, Standing};
use chassis::id::WorkspaceId;

use super::App;
use crate::domain::binding::current_of;
use crate::domain::member::Role;
use crate::store;

/// Nothing, when there is no such workspace.
pub async fn standing(app: &App, user: User, id: WorkspaceId) -> sqlx::Result<Standing> {
    let mut connection = app.pool.acquire().await?;
    let mut standing = Standing::default();
    match user {
        User::Console(account) => {
            let workspace = store::workspaces::get(&mut connection, id).await?;
            standing.owns = workspace.is_some_and(|workspace| workspace.owner == account);
            if let Some(member) = store::members::get(&mut connection, id, account).await? {
                standing.views = true;
                standing.administers = member.role == Role::Administrator;
                standing.reads_bills = member.role.reads_bills();
            }
        }
        User::Billing(account) => {
            let bindings = store::bindings::list_all(&mut connection, id).await?;
            let binding = current_of(&bindings, app.clock.now());
            standing.pays = binding.is_some_and(|binding| binding.billing_account_id == account);
        }
    }
    Ok(standing)
}

impl Guard for App {
    fn standing(&self, user: User, object: Object) -> Judged<'_> {
        Box::pin(async move {
            let Object::Workspace(id) = object else { return Ok(Standing::default()) };
            standing(self, user, id).await.map_err(Failure::from)
        })
    }
}
