//! What every call passes through, outermost first. One named array, and a test of its order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use tallystick_proto::access::{METHODS, MethodAccess};
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

pub mod access_log;
pub mod auth;
pub mod deadline;
pub mod limit;
pub mod panic;
pub mod request_id;
pub mod trace;

/// A call on its way in.
pub type Request = http::Request<Body>;
/// An answer on its way out.
pub type Response = http::Response<Body>;
/// What a layer returns.
pub type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One thing that happens to every call.
pub trait Layer: Send + Sync + 'static {
    /// Its name, for the order test and the README.
    fn name(&self) -> &'static str;
    /// Does it, around the rest.
    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer;
}

/// The layers that are left, and the services behind them.
pub struct Next {
    layers: Arc<[Arc<dyn Layer>]>,
    place: usize,
    routes: Routes,
}

impl Next {
    /// Goes on.
    pub fn run(mut self, request: Request) -> Answer {
        match self.layers.get(self.place).cloned() {
            Some(layer) => {
                self.place += 1;
                layer.call(request, self)
            }
            None => {
                let call = self.routes.call(request);
                Box::pin(async move {
                    match call.await {
                        Ok(response) => response.map(Body::new),
                        Err(never) => match never {},
                    }
                })
            }
        }
    }
}

/// The services with all layers around them.
#[derive(Clone)]
pub struct Layered {
    layers: Arc<[Arc<dyn Layer>]>,
    routes: Routes,
}

impl Layered {
    /// Puts the layers around the services, the first outermost.
    pub fn new(layers: Arc<[Arc<dyn Layer>]>, routes: Routes) -> Self {
        Self { layers, routes }
    }
}

impl Service<Request> for Layered {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Routes as Service<Request>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let next = Next { layers: Arc::clone(&self.layers), place: 0, routes: self.routes.clone() };
        let answer = next.run(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// Health and reflection: they bypass authentication, log and traces, since Kubernetes' probe sends no headers.
pub fn is_infrastructure(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.")
}

static METHODS_BY_PATH: LazyLock<HashMap<&'static str, &'static MethodAccess>> =
    LazyLock::new(|| METHODS.iter().map(|method| (method.path, method)).collect());

/// What the contract says of an RPC; None when it has none at this path.
pub fn method_of(path: &str) -> Option<&'static MethodAccess> {
    METHODS_BY_PATH.get(path).copied()
}
