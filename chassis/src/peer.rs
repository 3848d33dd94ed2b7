//! Calls to other services: connected lazily, with this service's token, the trace context and a deadline.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use opentelemetry::propagation::Injector;
use tallystick_proto::account::v1::SessionServiceGetKeysRequest;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::ServiceExt as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::auth::{KeySource, Signer, TOKEN_LIFE};
use crate::gather::Gathered;
use crate::user::Keys;

/// A channel that identifies itself.
pub type PeerChannel = InterceptedService<Channel, Identify>;

/// A call to a peer takes no longer.
const PEER_DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// No message is larger (architecture: 4 MiB).
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A peer at an address such as `http://127.0.0.1:50051`, which is the service of this name.
pub fn channel(address: &str, name: &'static str, signer: Signer) -> anyhow::Result<PeerChannel> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .with_context(|| format!("the address of {name}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    let identify = Identify { audience: name, signer, token: Arc::new(Mutex::new(None)) };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let gathered = connector.map_response(|io: TokioIo<_>| TokioIo::new(Gathered::new(io.into_inner())));
    Ok(InterceptedService::new(endpoint.connect_with_connector_lazy(gathered), identify))
}

type Kept = Arc<Mutex<Option<(Instant, MetadataValue<Ascii>)>>>;

/// Puts token, trace context and deadline on every call.
#[derive(Clone)]
pub struct Identify {
    audience: &'static str,
    signer: Signer,
    token: Kept,
}

impl Identify {
    /// A token that lives at least half its life on.
    fn token(&self) -> Result<MetadataValue<Ascii>, Status> {
        let mut kept = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((made, value)) = kept.as_ref().filter(|(made, _)| made.elapsed() < TOKEN_LIFE / 2) {
            let _ = made;
            return Ok(value.clone());
        }
        let token = self.signer.token(&[self.audience]).map_err(|error| crate::status::internal(&error))?;
        let value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| Status::internal("the token is no header value"))?;
        *kept = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

impl Interceptor for Identify {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.token()?);
        if request.metadata().get("grpc-timeout").is_none() {
            request.set_timeout(PEER_DEADLINE);
        }
        let context = tracing::Span::current().context();
        opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut Metadata(request.metadata_mut()));
        });
        Ok(request)
    }
}

/// The keys that account-svc publishes.
pub struct PublishedKeys(SessionServiceClient<PeerChannel>);

impl PublishedKeys {
    /// Over a channel to account-svc.
    pub fn new(channel: PeerChannel) -> Self {
        Self(SessionServiceClient::new(channel))
    }
}

impl KeySource for PublishedKeys {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Keys> + Send + '_>> {
        let mut client = self.0.clone();
        Box::pin(async move {
            let answer = client.get_keys(SessionServiceGetKeysRequest {}).await;
            let answer = answer.map_err(|status| silence("account-svc", &status))?.into_inner();
            Ok(answer.keys.into_iter().map(|key| (key.key_id, key.public_key)).collect())
        })
    }
}

/// A peer's answer that is a refusal for good, rather than silence or a fault.
pub fn is_refusal(status: &Status) -> bool {
    matches!(crate::outbox::undelivered(status), crate::outbox::Undelivered::Never(_))
        || status.code() == tonic::Code::NotFound
}

/// A peer that did not answer, or that is at fault, in the words of a transient failure.
pub fn silence(peer: &'static str, status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{:?}: {}", status.code(), status.message()).context(peer)
}
