//! A panic fails one call, not the connection.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::{Answer, Layer, Next, Request};

/// Turns a panic into INTERNAL.
pub struct CatchPanic;

impl Layer for CatchPanic {
    fn name(&self) -> &'static str {
        "panic"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        Box::pin(async move {
            match AssertUnwindSafe(async move { next.run(request).await }).catch_unwind().await {
                Ok(response) => response,
                Err(payload) => {
                    let message = payload
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| payload.downcast_ref::<&str>().copied())
                        .unwrap_or("no message");
                    crate::status::internal(&anyhow::anyhow!("panic: {message}")).into_http()
                }
            }
        })
    }
}
