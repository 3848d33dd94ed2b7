//! Who did what: every change that somebody asked for leaves an event in the transaction that makes it true, and every call of an operator one before it
//! is answered. They wait in `audit_outbox` until account-svc has them in its trail, which nobody can change.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tallystick_proto::account::v1::audit_event::Kind as WireKind;
use tallystick_proto::account::v1::audit_service_client::AuditServiceClient;
use tallystick_proto::account::v1::{AuditEvent, AuditServiceRecordRequest};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::auth::Caller;
use crate::clock::Clock;
use crate::db::Schema;
use crate::id::{PREFIXES, uuid_at};
use crate::peer::PeerChannel;
use crate::wire::timestamp;
use crate::worker::{Claim, Pace};

/// Events that are taken to account-svc together.
pub const BATCH_MAX: usize = 500;
/// Ids of one event; a request with more names the first.
const OBJECTS_MAX: usize = 32;
/// The longest name of a caller that is kept.
const CALLER_CHARACTERS_MAX: usize = 200;
/// How long the shipping sleeps when there is nothing to ship.
pub const SHIP_INTERVAL: Duration = Duration::from_secs(1);

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call of an operator.
    Call,
    /// A change that took effect.
    Change,
}

impl Kind {
    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Call => "CALL",
            Self::Change => "CHANGE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Call, Self::Change].into_iter().find(|kind| kind.word() == word)
    }
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Event {
    /// Its id, in order of time.
    pub event_id: Uuid,
    /// What it is, as the database has it.
    pub kind: String,
    /// Who, as [`Caller::label`] says it.
    pub caller: String,
    /// By which RPC: "WalletService/TopUp".
    pub method: String,
    /// To which objects.
    pub object_ids: Vec<String>,
    /// The request that asked for a change.
    pub request_id: Option<Uuid>,
    /// The call, `x-request-id`.
    pub call_id: Option<Uuid>,
    /// When, in real time: an audit is not to be moved by a test clock.
    pub occurred_at: OffsetDateTime,
}

/// The call that is being answered.
#[derive(Debug, Clone)]
struct Current {
    caller: String,
    method: &'static str,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Answers a call under its caller's name.
pub(crate) async fn under<F: Future>(caller: &Caller, path: &'static str, call: F) -> F::Output {
    CURRENT.scope(Current { caller: caller.label(), method: short(path) }, call).await
}

/// "WalletService/TopUp" of "/tallystick.settlement.v1.WalletService/TopUp".
fn short(path: &'static str) -> &'static str {
    let Some(end) = path.rfind('/') else { return path };
    let start = path.get(..end).and_then(|service| service.rfind('.')).map_or(0, |dot| dot + 1);
    path.get(start..).unwrap_or(path)
}

/// A name that the trail takes: the subject of an operator's token may be anything.
fn shown(character: char) -> char {
    if character.is_control() { '?' } else { character }
}

impl Event {
    fn new(kind: Kind, caller: &str, method: &str, object_ids: Vec<String>) -> Self {
        let now = Clock::system().now();
        Self {
            event_id: uuid_at(now),
            kind: kind.word().to_owned(),
            caller: caller
                .chars()
                .map(shown)
                .take(CALLER_CHARACTERS_MAX)
                .collect::<String>()
                .trim()
                .to_owned(),
            method: method.to_owned(),
            object_ids,
            request_id: None,
            call_id: crate::layer::request_id::current().parse().ok(),
            occurred_at: now,
        }
    }

    /// A change that a request asked for.
    pub(crate) fn change(caller: &str, method: &str, object_ids: Vec<String>, request_id: Uuid) -> Self {
        Self { request_id: Some(request_id), ..Self::new(Kind::Change, caller, method, object_ids) }
    }

    /// A call of an operator.
    pub(crate) fn call(caller: &Caller, path: &'static str, object_ids: Vec<String>) -> Self {
        Self::new(Kind::Call, &caller.label(), short(path), object_ids)
    }

    fn wire(self) -> AuditEvent {
        let kind = match Kind::from_word(&self.kind) {
            Some(Kind::Call) => WireKind::Call,
            Some(Kind::Change) => WireKind::Change,
            None => WireKind::Unspecified,
        };
        AuditEvent {
            event_id: self.event_id.to_string(),
            service: String::new(),
            kind: kind.into(),
            caller: self.caller,
            method: self.method,
            object_ids: self.object_ids,
            request_id: self.request_id.map(|id| id.to_string()).unwrap_or_default(),
            call_id: self.call_id.map(|id| id.to_string()).unwrap_or_default(),
            occur_time: Some(timestamp(self.occurred_at)),
        }
    }
}

/// Notes a change that has no request id, in its transaction: of the call that is being answered, or of the service itself.
pub async fn note(
    connection: &mut PgConnection,
    schema: Schema,
    work: &'static str,
    objects: &[String],
) -> sqlx::Result<()> {
    let current = CURRENT.try_with(Clone::clone);
    let current =
        current.unwrap_or_else(|_| Current { caller: format!("SERVICE:{}-svc", schema.0), method: work });
    append(connection, schema, &Event::new(Kind::Change, &current.caller, current.method, objects.to_vec()))
        .await
}

/// Writes an event.
pub(crate) async fn append(connection: &mut PgConnection, schema: Schema, event: &Event) -> sqlx::Result<()> {
    let sql = schema.sql(
        "insert into {schema}.audit_outbox (event_id, kind, caller, method, object_ids, request_id, call_id, occurred_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    );
    let query =
        sqlx::query(sql).bind(event.event_id).bind(&event.kind).bind(&event.caller).bind(&event.method);
    let query =
        query.bind(&event.object_ids).bind(event.request_id).bind(event.call_id).bind(event.occurred_at);
    query.execute(connection).await.map(drop)
}

/// Every typed id that stands in a message, each once: `wksp_` and a UUID, whatever field it is in.
pub fn objects_in(message: &[u8], found: &mut BTreeSet<String>) {
    const UUID_BYTES: usize = 36;
    for (place, _) in message.iter().enumerate().filter(|(_, byte)| **byte == b'_') {
        if found.len() >= OBJECTS_MAX {
            return;
        }
        let (before, after) = message.split_at(place + 1);
        let Some(prefix) = PREFIXES.iter().find(|prefix| before.ends_with(prefix.as_bytes())) else {
            continue;
        };
        let uuid = after.get(..UUID_BYTES).and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some(uuid) =
            uuid.filter(|text| Uuid::try_parse(text).is_ok_and(|uuid| uuid.to_string() == **text))
        {
            found.insert(format!("{prefix}{uuid}"));
        }
    }
}

/// Where a service notes the calls of operators.
#[derive(Clone)]
pub struct Journal {
    /// The pool of the service.
    pub pool: PgPool,
    /// Its schema.
    pub schema: Schema,
}

impl Journal {
    /// Writes one; the call is not answered before it is kept.
    pub(crate) async fn keep(&self, event: &Event) -> sqlx::Result<()> {
        append(&mut *self.pool.acquire().await?, self.schema, event).await
    }
}

/// Takes events where they are kept; the same again must be harmless.
pub type Ship =
    Arc<dyn Fn(Vec<Event>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send + Sync>;

/// To account-svc.
pub fn ship_over(channel: PeerChannel) -> Ship {
    let client = AuditServiceClient::new(channel);
    Arc::new(move |events| {
        let mut client = client.clone();
        Box::pin(async move {
            let events = events.into_iter().map(Event::wire).collect();
            client.record(AuditServiceRecordRequest { events }).await?;
            Ok(())
        })
    })
}

/// One look: ships what waits, oldest first. One process at a time, so that nothing is sent twice without need.
pub async fn ship_waiting(journal: &Journal, ship: &Ship) -> anyhow::Result<Pace> {
    let claim = Claim { pool: &journal.pool, schema: journal.schema };
    if !claim.take("ship_audit").await? {
        return Ok(Pace::Idle);
    }
    let sql = journal.schema.sql(
        "select event_id, kind, caller, method, object_ids, request_id, call_id, occurred_at from {schema}.audit_outbox \
         order by event_id limit $1",
    );
    let limit = i64::try_from(BATCH_MAX)?;
    let events: Vec<Event> = sqlx::query_as(sql).bind(limit).fetch_all(&journal.pool).await?;
    if events.is_empty() {
        return Ok(Pace::Idle);
    }
    let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
    let full = events.len() == BATCH_MAX;
    ship(events).await?;
    crate::fault::point("audit.shipped");
    let sql = journal.schema.sql("delete from {schema}.audit_outbox where event_id = any($1)");
    sqlx::query(sql).bind(&ids).execute(&journal.pool).await?;
    Ok(if full { Pace::Again } else { Pace::Idle })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_named_by_its_service_and_name() {
        assert_eq!(short("/tallystick.settlement.v1.WalletService/TopUp"), "WalletService/TopUp");
        assert_eq!(short("/x/Y"), "/x/Y");
        for method in tallystick_proto::access::METHODS {
            assert!(short(method.path).len() <= 100, "{}", method.path);
        }
    }

    #[test]
    fn ids_are_found_in_whatever_field_they_stand() {
        let id = |number: u128| Uuid::from_u128(number);
        let text = format!(
            "\n\x29wksp_{}\x12\x05hello acnt_{} acnt_{} bill_{}",
            id(1),
            id(2),
            id(2),
            "0".repeat(36)
        );
        let mut found = BTreeSet::new();
        objects_in(text.as_bytes(), &mut found);
        assert_eq!(found, BTreeSet::from([format!("acnt_{}", id(2)), format!("wksp_{}", id(1))]));
        let many: String = (0..100).map(|number| format!(" wksp_{}", id(number))).collect();
        objects_in(many.as_bytes(), &mut found);
        assert_eq!(found.len(), OBJECTS_MAX);
        let mut none = BTreeSet::new();
        objects_in(b"_wksp_ wksp_0190 other_00000000-0000-0000-0000-000000000001", &mut none);
        assert!(none.is_empty());
    }
}
