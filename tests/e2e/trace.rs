//! One trace shows a bill's way through all four services, the outbox included: a collector on loopback receives the spans.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chassis::telemetry::{LogFormat, start};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tests::World;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes =
            request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn service(span: &Span) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "service")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(name) => Some(name.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_shows_the_bills_way_through_the_four_services() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let telemetry = start("tests", "off", LogFormat::Plain, Some(&endpoint)).unwrap();

    let world = World::new().await.unwrap();
    let journey = tracing::info_span!("journey", otel.name = "a bill's way");
    local::demonstration::play(&world.clients).instrument(journey).await.unwrap();
    world.quiet().await.unwrap();
    world.stack.stop().await.unwrap();
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await.unwrap();

    let spans = collector.0.lock().unwrap().clone();
    let root = spans.iter().find(|span| span.name == "a bill's way").expect("the journey's own span");
    let of_trace: Vec<_> = spans.iter().filter(|span| span.trace_id == root.trace_id).collect();
    let services: BTreeSet<_> = of_trace.iter().filter_map(|span| service(span)).collect();
    assert_eq!(
        services.into_iter().collect::<Vec<_>>(),
        ["account-svc", "billing-svc", "settlement-svc", "workspace-svc"]
    );
    let names: BTreeSet<_> = of_trace.iter().map(|span| span.name.as_str()).collect();
    for step in [
        "tallystick.account.v1.RegistrationService/Register",
        "tallystick.workspace.v1.BindingService/Bind",
        "tallystick.workspace.v1.UsageService/SealDay",
        "tallystick.billing.v1.BillRunService/Create",
        "tallystick.workspace.v1.UsageService/StreamSealedDays",
        "tallystick.settlement.v1.SettlementService/Settle",
        "tallystick.billing.v1.BillService/RecordSettlement",
    ] {
        assert!(names.contains(step), "{step} is not in the trace: {names:?}");
    }
}
