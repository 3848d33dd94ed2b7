//! `account.registrations`

use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, ConsoleAccountId, RegistrationId, SubscriptionId, WorkspaceId};
use chassis::site::Site;
use chassis::work::Piece;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::mail::Language;
use crate::domain::registration::{BillingChoice, Landing, Plan, Registration, State};
use crate::domain::username::Username;

struct Row {
    registration_id: Uuid,
    site: String,
    username: String,
    currency: String,
    workspace_name: String,
    language: String,
    plan: String,
    billing_choice: String,
    vendor: Option<String>,
    cloud_account_id: Option<String>,
    instance_id: Option<String>,
    landing_hash: Option<Vec<u8>>,
    state: String,
    console_account_id: Uuid,
    billing_account_id: Option<Uuid>,
    subscription_id: Option<Uuid>,
    workspace_id: Option<Uuid>,
    bound_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    completed_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Registration {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("registrations", row.registration_id, problem);
        let username = Some(row.username.as_str()).filter(|name| !name.is_empty());
        let landing = match (row.vendor, row.cloud_account_id, row.instance_id, row.landing_hash) {
            (Some(vendor), Some(cloud_account_id), Some(instance_id), Some(hash)) => {
                let token_hash = hash.as_slice().try_into().map_err(|_| corrupt("landing_hash"))?;
                Some(Landing { vendor, cloud_account_id, instance_id, token_hash })
            }
            _ => None,
        };
        Ok(Self {
            registration_id: RegistrationId::from_uuid(row.registration_id),
            site: Site::from_word(&row.site).map_err(|_| corrupt("site"))?,
            username: username.map(str::parse).transpose().map_err(|_| corrupt("username"))?,
            currency: row.currency.parse().map_err(|_| corrupt("currency"))?,
            language: Language::from_word(&row.language).ok_or_else(|| corrupt("language"))?,
            plan: Plan::from_word(&row.plan).ok_or_else(|| corrupt("plan"))?,
            billing: BillingChoice::from_word(&row.billing_choice)
                .ok_or_else(|| corrupt("billing_choice"))?,
            landing,
            state: State::from_word(&row.state).ok_or_else(|| corrupt("state"))?,
            workspace_name: row.workspace_name,
            console_account_id: ConsoleAccountId::from_uuid(row.console_account_id),
            billing_account_id: row.billing_account_id.map(BillingAccountId::from_uuid),
            subscription: row.subscription_id.map(SubscriptionId::from_uuid),
            workspace_id: row.workspace_id.map(WorkspaceId::from_uuid),
            bound_at: row.bound_at,
            created_at: row.created_at,
            completed_at: row.completed_at,
        })
    }
}

/// Who asked for a registration, by which request.
pub struct Request {
    /// The caller's label.
    pub caller: String,
    /// Its request id.
    pub request_id: Uuid,
    /// Of what it asked.
    pub hash: [u8; 32],
}

/// False when the request has begun a registration already; breaks `registrations_landing_key` when the landing token has.
pub async fn insert(
    connection: &mut PgConnection,
    registration: &Registration,
    request: &Request,
) -> sqlx::Result<bool> {
    let landing = registration.landing.as_ref();
    let done = sqlx::query!(
        "insert into account.registrations (registration_id, caller, request_id, request_hash, site, username, currency, \
         workspace_name, state, console_account_id, created_at, language, plan, billing_choice, vendor, cloud_account_id, \
         instance_id, landing_hash, billing_account_id) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
         on conflict on constraint registrations_request_key do nothing",
        registration.registration_id.uuid(),
        request.caller,
        request.request_id,
        request.hash.as_slice(),
        registration.site.word(),
        registration.username.as_ref().map(ToString::to_string).unwrap_or_default(),
        registration.currency.code(),
        registration.workspace_name,
        registration.state.word(),
        registration.console_account_id.uuid(),
        registration.created_at,
        registration.language.word(),
        registration.plan.word(),
        registration.billing.word(),
        landing.map(|landing| &landing.vendor),
        landing.map(|landing| &landing.cloud_account_id),
        landing.map(|landing| &landing.instance_id),
        landing.map(|landing| landing.token_hash.as_slice()),
        registration.billing_account_id.map(BillingAccountId::uuid),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The registration that a request began, and the hash of what it asked.
pub async fn find_by_request(
    connection: &mut PgConnection,
    caller: &str,
    request_id: Uuid,
) -> sqlx::Result<Option<(RegistrationId, Vec<u8>)>> {
    let row = sqlx::query!(
        "select registration_id, request_hash from account.registrations where caller = $1 and request_id = $2",
        caller,
        request_id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (RegistrationId::from_uuid(row.registration_id), row.request_hash)))
}

pub async fn get(connection: &mut PgConnection, id: RegistrationId) -> sqlx::Result<Option<Registration>> {
    let row = sqlx::query_as!(
        Row,
        "select registration_id, site, username, currency, workspace_name, language, plan, billing_choice, vendor, cloud_account_id, \
         instance_id, landing_hash, state, console_account_id, billing_account_id, subscription_id, workspace_id, bound_at, \
         created_at, completed_at from account.registrations where registration_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Registration::try_from).transpose()?)
}

pub async fn get_for_update(
    connection: &mut PgConnection,
    id: RegistrationId,
) -> sqlx::Result<Option<Registration>> {
    let row = sqlx::query_as!(
        Row,
        "select registration_id, site, username, currency, workspace_name, language, plan, billing_choice, vendor, cloud_account_id, \
         instance_id, landing_hash, state, console_account_id, billing_account_id, subscription_id, workspace_id, bound_at, \
         created_at, completed_at from account.registrations where registration_id = $1 for update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Registration::try_from).transpose()?)
}

/// Some of those with missing steps that began before a moment and are due, by chance: one that fails again and again keeps no other from its turn.
pub async fn list_running(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<RegistrationId>> {
    let ids = sqlx::query_scalar!(
        "select registration_id from account.registrations where state = 'RUNNING' and created_at < $1 \
         and parked_at is null and next_attempt_at <= clock_timestamp() order by random() limit $2",
        before,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(RegistrationId::from_uuid).collect())
}

/// It could not go on: it waits for another try, or, refused for good, for an operator.
pub async fn mark_failed(
    connection: &mut PgConnection,
    id: RegistrationId,
    parked: bool,
    error: &str,
    wait_secs: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.registrations set attempts = attempts + 1, last_error = left($2, 1000), \
         parked_at = case when $3 then clock_timestamp() end, next_attempt_at = clock_timestamp() + make_interval(secs => $4::integer) \
         where registration_id = $1 and state = 'RUNNING'",
        id.uuid(),
        error,
        parked,
        wait_secs,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Its customer goes on with it: from now on it is tried again.
pub async fn unpark(connection: &mut PgConnection, id: RegistrationId) -> sqlx::Result<()> {
    sqlx::query!(
        "update account.registrations set parked_at = null, attempts = 0, next_attempt_at = '-infinity' \
         where registration_id = $1 and parked_at is not null",
        id.uuid(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// How often it was tried in vain.
pub async fn attempts(connection: &mut PgConnection, id: RegistrationId) -> sqlx::Result<i32> {
    sqlx::query_scalar!("select attempts from account.registrations where registration_id = $1", id.uuid())
        .fetch_one(connection)
        .await
}

/// Registrations with steps to go, in order of id.
pub async fn list_work(
    connection: &mut PgConnection,
    parked: Option<bool>,
    after: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Piece>> {
    sqlx::query_as!(
        Piece,
        r#"select registration_id as id, 'REGISTRATION' as "kind!", attempts, last_error, created_at, parked_at from account.registrations
           where state = 'RUNNING' and ($1::boolean is null or (parked_at is not null) = $1)
             and ($2::uuid is null or registration_id > $2) order by registration_id limit $3"#,
        parked,
        after,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Has one go on at once. None: it has no step to go.
pub async fn retry(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Piece>> {
    sqlx::query_as!(
        Piece,
        r#"update account.registrations set parked_at = null, attempts = 0, next_attempt_at = '-infinity'
           where registration_id = $1 and state = 'RUNNING'
           returning registration_id as id, 'REGISTRATION' as "kind!", attempts, last_error, created_at, parked_at"#,
        id,
    )
    .fetch_optional(connection)
    .await
}

/// Parks one; what is parked stays as it is.
pub async fn park(connection: &mut PgConnection, id: Uuid, said: &str) -> sqlx::Result<Option<Piece>> {
    sqlx::query_as!(
        Piece,
        r#"update account.registrations set parked_at = coalesce(parked_at, clock_timestamp()),
             last_error = case when parked_at is null then $2 else last_error end
           where registration_id = $1 and state = 'RUNNING'
           returning registration_id as id, 'REGISTRATION' as "kind!", attempts, last_error, created_at, parked_at"#,
        id,
        said,
    )
    .fetch_optional(connection)
    .await
}

pub async fn update_username(
    connection: &mut PgConnection,
    id: RegistrationId,
    username: &Username,
    state: State,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set username = $2, state = $3 where registration_id = $1 and billing_account_id is null \
         and billing_choice = 'CREATE'",
        id.uuid(),
        username.to_string(),
        state.word(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_billing_account(
    connection: &mut PgConnection,
    id: RegistrationId,
    billing_account_id: BillingAccountId,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set billing_account_id = $2, state = 'RUNNING' \
         where registration_id = $1 and billing_account_id is null",
        id.uuid(),
        billing_account_id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_subscription(
    connection: &mut PgConnection,
    id: RegistrationId,
    subscription: SubscriptionId,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set subscription_id = $2 \
         where registration_id = $1 and (subscription_id is null or subscription_id = $2)",
        id.uuid(),
        subscription.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn mark_bound(
    connection: &mut PgConnection,
    id: RegistrationId,
    commercial_from: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set bound_at = coalesce(bound_at, $2) where registration_id = $1",
        id.uuid(),
        commercial_from,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The workspace of a registration is the same whoever writes it: its request id follows from the registration.
pub async fn update_workspace(
    connection: &mut PgConnection,
    id: RegistrationId,
    workspace_id: WorkspaceId,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set workspace_id = $2 \
         where registration_id = $1 and (workspace_id is null or workspace_id = $2)",
        id.uuid(),
        workspace_id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Answers 0 when it was complete.
pub async fn mark_complete(
    connection: &mut PgConnection,
    id: RegistrationId,
    now: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update account.registrations set state = 'COMPLETE', completed_at = $2 \
         where registration_id = $1 and state <> 'COMPLETE'",
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
