//! Logs, traces and metrics. Trace context is W3C's, between services and through the outbox.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line: production.
    Json,
    /// For people, on the standard error.
    Plain,
}

/// What is running; dropping it does not flush, `shutdown` does.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what is left.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "traces were not flushed");
        }
    }
}

/// Starts logs and, when an endpoint is given, traces. Once per process.
pub fn start(
    name: &'static str,
    filter: &str,
    format: LogFormat,
    otlp: Option<&str>,
) -> anyhow::Result<Telemetry> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = otlp.map(|endpoint| provider(name, endpoint)).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tallystick"))
            .with_filter(EnvFilter::new("info,h2=off,hyper=off,tonic=off,tower=off"))
    });
    let logs = EnvFilter::try_new(filter).context("LOG_FILTER")?;
    let registry = tracing_subscriber::registry().with(traces);
    match format {
        LogFormat::Json => registry
            .with(tracing_subscriber::fmt::layer().json().with_current_span(false).with_filter(logs))
            .try_init(),
        LogFormat::Plain => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(logs))
            .try_init(),
    }
    .context("starting telemetry twice")?;
    Ok(Telemetry { provider })
}

fn provider(name: &'static str, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().context("OTLP_ENDPOINT")?;
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Serves metrics to Prometheus at this address. Once per process.
pub fn serve_metrics(address: SocketAddr) -> anyhow::Result<()> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .context("METRICS_LISTEN_ADDR")?;
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    metrics::gauge!("build_info", &labels).set(1.0);
    Ok(())
}

/// The trace context of the current span, as a `traceparent` value; empty outside of a trace.
pub fn current_trace_context() -> String {
    let mut carrier = HashMap::new();
    let context = Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut carrier)
    });
    carrier.remove("traceparent").unwrap_or_default()
}

/// A span that goes on with a stored trace.
pub fn span_under(trace_context: &str, name: &'static str, target: &'static str) -> Span {
    let span = tracing::info_span!("work", otel.name = name, otel.kind = "internal", work.target = target);
    if !trace_context.is_empty() {
        let carrier = HashMap::from([("traceparent".to_owned(), trace_context.to_owned())]);
        let parent =
            opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
        // Without a tracing backend there is nothing to attach to.
        let _ = span.set_parent(parent);
    }
    span
}
