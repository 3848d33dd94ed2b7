//! A request id is stored in the transaction of its effect: either both exist or neither. The same id with the same body gets
//! the first answer; with another body it is refused. Kept as long as the rows it made.

use std::collections::BTreeSet;

use prost::Message;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::audit::{self, Event, objects_in};
use crate::auth::Caller;
use crate::db::Schema;
use crate::failure::Failure;

/// Answer metadata that tells a replay from a first answer.
pub const REPLAY_HEADER: &str = "idempotent-replay";

type Encode<T> = Box<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// A request that takes effect once, and how its answer is stored.
pub struct Idempotent<T> {
    scope_id: Uuid,
    caller: String,
    method: &'static str,
    request_id: Uuid,
    hash: [u8; 32],
    encode: Encode<T>,
    objects: BTreeSet<String>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It took effect now.
    Fresh(T),
    /// It had taken effect before: the first answer, as it was encoded.
    Replay(Vec<u8>),
}

impl<T: 'static> Idempotent<T> {
    /// `scope_id` is the addressed object, nil when the request makes one; `answer` builds the message that is stored.
    pub fn new<Q: Message, A: Message + 'static>(
        scope_id: Uuid,
        caller: &Caller,
        method: &'static str,
        request_id: Uuid,
        request: &Q,
        answer: fn(&T) -> A,
    ) -> Self {
        let message = request.encode_to_vec();
        let mut objects = BTreeSet::new();
        objects_in(&message, &mut objects);
        Self {
            scope_id,
            caller: caller.label(),
            method,
            request_id,
            hash: Sha256::digest(&message).into(),
            encode: Box::new(move |value| answer(value).encode_to_vec()),
            objects,
        }
    }

    /// The request id.
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// What another service may know the effect by: the same for a repeat, another for the same id in another method.
    pub fn effect_id(&self) -> Uuid {
        crate::id::derived(self.request_id, self.method)
    }

    /// Claims the request id; the first thing in a transaction. Some: the answer of the first time. A second call with the same
    /// id waits here for the first to commit or to fail.
    pub async fn claim<R>(
        &self,
        connection: &mut PgConnection,
        schema: Schema,
        now: OffsetDateTime,
    ) -> Result<Option<Vec<u8>>, Failure<R>> {
        let sql = schema.sql(
            "insert into {schema}.requests (scope_id, caller, method, request_id, request_hash, response, created_at) \
             values ($1, $2, $3, $4, $5, null, $6) on conflict do nothing",
        );
        let inserted = sqlx::query(sql)
            .bind(self.scope_id)
            .bind(&self.caller)
            .bind(self.method)
            .bind(self.request_id)
            .bind(self.hash.as_slice())
            .bind(now)
            .execute(&mut *connection)
            .await?;
        if inserted.rows_affected() == 1 {
            return Ok(None);
        }
        self.find(connection, schema).await
    }

    /// The first answer, if there was one: a look before peers are asked, which saves asking them again.
    pub async fn find<R>(
        &self,
        connection: &mut PgConnection,
        schema: Schema,
    ) -> Result<Option<Vec<u8>>, Failure<R>> {
        let sql = schema.sql(
            "select request_hash, response from {schema}.requests \
             where scope_id = $1 and caller = $2 and method = $3 and request_id = $4",
        );
        let row: Option<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(sql)
            .bind(self.scope_id)
            .bind(&self.caller)
            .bind(self.method)
            .bind(self.request_id)
            .fetch_optional(connection)
            .await?;
        match row {
            None => Ok(None),
            Some((hash, _)) if hash != self.hash => Err(Failure::RequestIdReused(self.request_id)),
            Some((_, Some(response))) => Ok(Some(response)),
            Some((_, None)) => Err(Failure::fatal(format!("request {} has no answer", self.request_id))),
        }
    }

    /// Stores the answer, and that the change was made; the last thing before the commit.
    pub async fn store<R>(
        &self,
        connection: &mut PgConnection,
        schema: Schema,
        value: &T,
    ) -> Result<(), Failure<R>> {
        let sql = schema.sql(
            "update {schema}.requests set response = $5 \
             where scope_id = $1 and caller = $2 and method = $3 and request_id = $4 and response is null",
        );
        let answer = (self.encode)(value);
        let mut objects = self.objects.clone();
        objects_in(&answer, &mut objects);
        let stored = sqlx::query(sql)
            .bind(self.scope_id)
            .bind(&self.caller)
            .bind(self.method)
            .bind(self.request_id)
            .bind(answer)
            .execute(&mut *connection)
            .await?;
        if stored.rows_affected() != 1 {
            return Err(Failure::fatal(format!("request {} was not claimed", self.request_id)));
        }
        let objects = objects.into_iter().collect();
        let event = Event::change(&self.caller, self.method, objects, self.request_id);
        Ok(audit::append(connection, schema, &event).await?)
    }
}

/// The gRPC answer of an outcome; a replay says so in its metadata.
pub fn respond<T, A: Message + Default>(
    outcome: Outcome<T>,
    answer: fn(&T) -> A,
) -> Result<Response<A>, Status> {
    match outcome {
        Outcome::Fresh(value) => Ok(Response::new(answer(&value))),
        Outcome::Replay(bytes) => {
            let message = A::decode(bytes.as_slice()).map_err(|error| {
                crate::status::internal(&anyhow::Error::new(error).context("a stored answer"))
            })?;
            let mut response = Response::new(message);
            response
                .metadata_mut()
                .insert(REPLAY_HEADER, tonic::metadata::MetadataValue::from_static("true"));
            Ok(response)
        }
    }
}
