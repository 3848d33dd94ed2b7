//! `account.requests`, as far as answers hold what is personal.

use chassis::auth::User;
use sqlx::PgConnection;

/// Forgets the answers that say something of an account that is closed: a repeat is answered without.
pub async fn forget_answers(connection: &mut PgConnection, user: User) -> sqlx::Result<()> {
    let id = match user {
        User::Console(id) => id.uuid(),
        User::Billing(id) => id.uuid(),
    };
    sqlx::query!(
        "update account.requests set response = '' where scope_id = $1 and response is not null",
        id
    )
    .execute(&mut *connection)
    .await?;
    // What made it has no scope: its answer is known by the id in it.
    sqlx::query!(
        "update account.requests set response = '' where scope_id = '00000000-0000-0000-0000-000000000000' \
         and method = 'BillingAccountService/Create' and position(convert_to($1, 'UTF8') in response) > 0",
        user.to_string(),
    )
    .execute(connection)
    .await
    .map(drop)
}
