//! One span per call, a child of the caller's by W3C trace context.

use std::sync::Arc;

use opentelemetry::propagation::Extractor;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{Answer, Layer, Next, Request, is_infrastructure};

/// Opens the span.
pub struct Trace {
    /// Which service answers: several may share a process.
    pub service: &'static str,
}

struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

impl Layer for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let span = tracing::info_span!(
            "rpc",
            otel.name = %method,
            otel.kind = "server",
            rpc.system = "grpc",
            service = self.service,
        );
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract(&Headers(request.headers()))
        });
        // Without a tracing backend there is no OpenTelemetry layer to take the parent, which is as it should be.
        let _ = span.set_parent(parent);
        Box::pin(next.run(request).instrument(span))
    }
}
