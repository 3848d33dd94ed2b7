//! What a user is to a registration: its accounts hold it.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::guard::{Guard, Judged, Object, Standing};

use super::{App, read_accounts};

impl Guard for App {
    fn standing(&self, user: User, object: Object) -> Judged<'_> {
        Box::pin(async move {
            let Object::Registration(id) = object else { return Ok(Standing::default()) };
            let found = read_accounts::registration(self, id).await.map_err(Failure::from)?;
            let holds = found.is_some_and(|registration| match user {
                User::Console(id) => registration.console_account_id == id,
                User::Billing(id) => registration.billing_account_id == Some(id),
            });
            Ok(Standing { holds, ..Standing::default() })
        })
    }
}
