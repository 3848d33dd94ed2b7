//! `account.requests`, as far as answers hold what is personal.

use chassis::auth::User;
use sqlx::PgConnection;

/// Every answer about an account begins with it, and every account with its id: field 1 of field 1, of 41 bytes within 43.
const ONLY_ITS_ID: [u8; 4] = [0x0a, 43, 0x0a, 41];

/// Forgets what answers say of an account that is closed, but for its id: a repeat is answered with no more.
pub async fn forget_answers(connection: &mut PgConnection, user: User) -> sqlx::Result<()> {
    let id = match user {
        User::Console(id) => id.uuid(),
        User::Billing(id) => id.uuid(),
    };
    let answer = [ONLY_ITS_ID.as_slice(), user.to_string().as_bytes()].concat();
    sqlx::query!(
        "update account.requests set response = $2 where scope_id = $1 and length(response) > 0",
        id,
        answer,
    )
    .execute(&mut *connection)
    .await?;
    // What made it has no scope: its answer is known by the id in it.
    sqlx::query!(
        "update account.requests set response = $2 where scope_id = '00000000-0000-0000-0000-000000000000' \
         and method = 'BillingAccountService/Create' and position(convert_to($1, 'UTF8') in response) > 0",
        user.to_string(),
        answer,
    )
    .execute(connection)
    .await
    .map(drop)
}
