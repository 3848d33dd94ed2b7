//! What a user is to a workspace: workspace-svc says it. Everything else here is an account's own.

use chassis::auth::User;
use chassis::guard::{Guard, Judged, Object, Standing};

use super::App;

impl Guard for App {
    fn standing(&self, user: User, object: Object) -> Judged<'_> {
        Box::pin(async move {
            match object {
                Object::Workspace(id) => self.standings.of_workspace(user, id).await,
                Object::ConsoleAccount(_)
                | Object::BillingAccount(_)
                | Object::Bill(_)
                | Object::Registration(_) => Ok(Standing::default()),
            }
        })
    }
}
