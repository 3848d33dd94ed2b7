//! One line and two metrics per call: method, code, duration, caller; never a body, a name or an address.

use std::sync::Arc;
use std::time::Instant;

use metrics::SharedString;
use tonic::Code;

use super::{Answer, Layer, Next, Request, Response, is_infrastructure, method_of};
use crate::auth::Caller;

/// Writes the line and counts.
pub struct AccessLog {
    /// Which service answers.
    pub service: &'static str,
}

impl Layer for AccessLog {
    fn name(&self) -> &'static str {
        "access_log"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        let uri = request.uri().clone();
        let start = Instant::now();
        Box::pin(async move {
            let response = next.run(request).await;
            let duration = start.elapsed();
            let code = code_of(&response);
            let caller = response.extensions().get::<Caller>();
            tracing::info!(
                service = self.service,
                method = uri.path(),
                ?code,
                duration_ms = duration.as_millis(),
                caller = caller.map(Caller::label).unwrap_or_default(),
                request_id = super::request_id::current(),
                "call"
            );
            // Only what the contract has becomes a label: anybody can call any path, and labels are kept for ever.
            let known = method_of(uri.path()).map_or("unknown", |method| method.path);
            let code = match code {
                Code::Ok => SharedString::const_str("Ok"),
                other => format!("{other:?}").into(),
            };
            let labels = [
                ("service", SharedString::const_str(self.service)),
                ("method", SharedString::const_str(known)),
                ("code", code),
            ];
            metrics::counter!("rpc_calls_total", &labels).increment(1);
            metrics::histogram!("rpc_duration_seconds", &labels).record(duration);
            response
        })
    }
}

/// A failed unary call says so in its headers; a stream that fails later does so in trailers, which are not waited for.
fn code_of(response: &Response) -> Code {
    response.headers().get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}
