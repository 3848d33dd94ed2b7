//! A service takes so many calls at once and no more: better one clear refusal than slow answers to all.

use std::sync::Arc;

use tallystick_proto::common::v1::ErrorReason;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::{Answer, Layer, Next, Request, is_infrastructure};
use crate::status::Refusal;

/// Counts the calls in flight.
pub struct Limit {
    permits: Arc<Semaphore>,
    max: usize,
}

impl Limit {
    /// At most so many calls in flight.
    pub fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max }
    }
}

impl Layer for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Box::pin(async move {
                let response = next.run(request).await;
                drop(permit);
                response
            }),
            Err(_) => {
                let message = format!("more than {} calls in flight; wait and repeat", self.max);
                let refusal = Refusal::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, message);
                let status = Status::from(refusal.with("limit", self.max));
                Box::pin(async move { status.into_http() })
            }
        }
    }
}
