//! `account.mails`

use std::collections::BTreeMap;

use chassis::failure::Corrupt;
use chassis::id::WorkspaceId;
use chassis::work::Piece;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::mail::{Language, Template};

/// A mail on its way.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its id.
    pub mail_id: Uuid,
    /// To whom; None for an address without an account, and for nobody.
    pub account_id: Option<String>,
    /// Where to, when it is not the account's own address.
    pub address: Option<String>,
    /// What it says.
    pub template: Template,
    /// In which language.
    pub language: Language,
    /// With these values; a code is not among them.
    pub parameters: BTreeMap<String, String>,
    /// The workspace that it is about, whose name and language it gets.
    pub workspace: Option<WorkspaceId>,
    /// What its code follows from.
    pub challenge_id: Option<Uuid>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

/// One to nobody is dropped at once.
pub async fn insert(connection: &mut PgConnection, mail: &Mail) -> sqlx::Result<()> {
    let to_somebody = mail.account_id.is_some() || mail.address.is_some();
    sqlx::query!(
        "insert into account.mails (mail_id, account_id, address, template, language, parameters, challenge_id, state, \
         created_at, workspace_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        mail.mail_id,
        mail.account_id,
        mail.address,
        mail.template.word(),
        mail.language.word(),
        Json(&mail.parameters) as _,
        mail.challenge_id,
        if to_somebody { "WAITING" } else { "DROPPED" },
        mail.created_at,
        mail.workspace.map(WorkspaceId::uuid),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Those that are due: codes first, then the oldest.
pub async fn list_due(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Mail>> {
    let rows = sqlx::query!(
        r#"select mail_id, account_id, address, template, language, parameters as "parameters: Json<BTreeMap<String, String>>",
             workspace_id, challenge_id, attempts, created_at from account.mails
           where state = 'WAITING' and next_attempt_at <= clock_timestamp()
           order by challenge_id is null, created_at limit $1"#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let mails = rows.into_iter().map(|row| {
        let corrupt = |problem: &str| Corrupt::new("mails", row.mail_id, problem);
        Ok(Mail {
            mail_id: row.mail_id,
            account_id: row.account_id,
            address: row.address,
            template: Template::from_word(&row.template).ok_or_else(|| corrupt("template"))?,
            language: Language::from_word(&row.language).ok_or_else(|| corrupt("language"))?,
            parameters: row.parameters.0,
            workspace: row.workspace_id.map(WorkspaceId::from_uuid),
            challenge_id: row.challenge_id,
            attempts: row.attempts,
            created_at: row.created_at,
        })
    });
    mails.collect()
}

/// It has left, or is not to leave: where to is forgotten.
pub async fn mark_done(connection: &mut PgConnection, mail_id: Uuid, state: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.mails set state = $2, address = null, parked_at = null where mail_id = $1",
        mail_id,
        state
    )
    .execute(connection)
    .await
    .map(drop)
}

/// It waits for another try, or, refused for good, for an operator.
pub async fn mark_failed(
    connection: &mut PgConnection,
    mail_id: Uuid,
    parked: bool,
    error: &str,
    wait_secs: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.mails set attempts = attempts + 1, last_error = left($2, 1000), \
         state = case when $3 then 'PARKED' else state end, parked_at = case when $3 or state = 'PARKED' then coalesce(parked_at, clock_timestamp()) end, next_attempt_at = clock_timestamp() + make_interval(secs => $4::integer) \
         where mail_id = $1",
        mail_id,
        error,
        parked,
        wait_secs,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Mails that have not left, in order of id.
pub async fn list_work(
    connection: &mut PgConnection,
    parked: Option<bool>,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Piece>> {
    sqlx::query_as!(
        Piece,
        "select mail_id as id, template as kind, attempts, last_error, created_at, parked_at from account.mails \
         where state in ('WAITING', 'PARKED') and ($1::boolean is null or (state = 'PARKED') = $1) \
           and ($2::uuid is null or mail_id > $2) order by mail_id limit $3",
        parked,
        after,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Has one sent again at once. None: it has left, or never was.
pub async fn retry(connection: &mut PgConnection, mail_id: Uuid) -> sqlx::Result<Option<Piece>> {
    sqlx::query_as!(
        Piece,
        "update account.mails set state = 'WAITING', parked_at = null, attempts = 0, next_attempt_at = '-infinity' \
         where mail_id = $1 and state in ('WAITING', 'PARKED') \
         returning mail_id as id, template as kind, attempts, last_error, created_at, parked_at",
        mail_id,
    )
    .fetch_optional(connection)
    .await
}

/// Parks one; what is parked stays as it is.
pub async fn park(connection: &mut PgConnection, mail_id: Uuid, said: &str) -> sqlx::Result<Option<Piece>> {
    sqlx::query_as!(
        Piece,
        "update account.mails set state = 'PARKED', parked_at = coalesce(parked_at, clock_timestamp()), \
           last_error = case when parked_at is null then $2 else last_error end \
         where mail_id = $1 and state in ('WAITING', 'PARKED') \
         returning mail_id as id, template as kind, attempts, last_error, created_at, parked_at",
        mail_id,
        said,
    )
    .fetch_optional(connection)
    .await
}

/// Removes some that have left or were dropped long ago. Answers how many.
pub async fn delete_before(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from account.mails where mail_id in (select mail_id from account.mails \
         where created_at < $1 and state in ('SENT', 'DROPPED') limit $2 for update skip locked)",
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
