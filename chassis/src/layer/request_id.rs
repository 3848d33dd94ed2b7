//! Every call has an id: the caller's own, when it sends a UUID as `x-request-id`, or a new one. The answer carries it.

use std::sync::Arc;

use http::HeaderValue;
use uuid::Uuid;

use super::{Answer, Layer, Next, Request};
use crate::clock::Clock;

/// The header, both ways.
pub const HEADER: &str = "x-request-id";

tokio::task_local! {
    static CURRENT: Uuid;
}

/// The id of the call that is being answered; empty outside of one.
pub fn current() -> String {
    CURRENT.try_with(ToString::to_string).unwrap_or_default()
}

/// Gives every call its id.
pub struct RequestId;

impl Layer for RequestId {
    fn name(&self) -> &'static str {
        "request_id"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        let given = request
            .headers()
            .get(HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        let id: Uuid = given.unwrap_or_else(|| crate::id::uuid_at(Clock::system().now()));
        Box::pin(CURRENT.scope(id, async move {
            let mut response = next.run(request).await;
            if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
                response.headers_mut().insert(HEADER, value);
            }
            response
        }))
    }
}
