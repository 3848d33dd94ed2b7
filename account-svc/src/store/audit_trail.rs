//! `account.audit_trail`: inserted, never changed.

use chassis::audit::Event;
use sqlx::PgConnection;
use uuid::Uuid;

/// Keeps events of a service; those that are kept already stay as they are.
pub async fn insert(connection: &mut PgConnection, service: &str, event: &Event) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into account.audit_trail (event_id, service, kind, caller, method, object_ids, request_id, call_id, occurred_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict on constraint audit_trail_pkey do nothing",
        event.event_id,
        service,
        event.kind,
        event.caller,
        event.method,
        &event.object_ids,
        event.request_id,
        event.call_id,
        event.occurred_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// An event, and the service where it happened.
#[derive(Debug, Clone)]
pub struct Kept {
    /// "settlement-svc"
    pub service: String,
    /// What happened.
    pub event: Event,
}

/// Events, newest first.
pub async fn list(
    connection: &mut PgConnection,
    (object, caller): (Option<&str>, Option<&str>),
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Kept>> {
    let rows = sqlx::query!(
        "select event_id, service, kind, caller, method, object_ids, request_id, call_id, occurred_at from account.audit_trail \
         where ($1::text is null or object_ids @> array[$1]) and ($2::text is null or caller = $2) \
           and ($3::uuid is null or event_id < $3) order by event_id desc limit $4",
        object,
        caller,
        before,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let kept = rows.into_iter().map(|row| Kept {
        service: row.service,
        event: Event {
            event_id: row.event_id,
            kind: row.kind,
            caller: row.caller,
            method: row.method,
            object_ids: row.object_ids,
            request_id: row.request_id,
            call_id: row.call_id,
            occurred_at: row.occurred_at,
        },
    });
    Ok(kept.collect())
}
