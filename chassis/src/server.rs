//! One server builder for all: layers in order, health, reflection of both versions, limits, drain.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tallystick_proto::FILE_DESCRIPTOR_SET;
use tallystick_proto::ops::v1::clock_service_server::ClockServiceServer;
use tallystick_proto::ops::v1::work_service_server::WorkServiceServer;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::audit::{Journal, SHIP_INTERVAL, Ship, ship_waiting};
use crate::auth::{KeySource, UserKeys, Verifier};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Schema;
use crate::gather::Gathered;
use crate::guard::Guard;
use crate::health::Readiness;
use crate::layer::{self, Layer, Layered};
use crate::ops::ClockRoom;
use crate::outbox::{RELAY_INTERVAL, Relay};
use crate::work::{WorkRoom, WorkSources};
use crate::worker::{self, Claim, Pace};

/// What a service is.
#[derive(Clone, Copy)]
pub struct Service {
    /// Its name: "billing-svc". The audience of its tokens.
    pub name: &'static str,
    /// Its schema.
    pub schema: Schema,
    /// Its migrations.
    pub migrator: &'static Migrator,
}

/// What a service stands on while it runs.
#[derive(Clone)]
pub struct Frame {
    /// What it is.
    pub service: Service,
    /// Its database.
    pub pool: PgPool,
    /// Its clock.
    pub clock: Clock,
    /// Woken after a commit that left work behind.
    pub nudge: Arc<Notify>,
    /// Cancelled when the service is to stop.
    pub draining: CancellationToken,
    work: WorkSources,
    workers: TaskTracker,
    stopped: CancellationToken,
    workers_paused: Arc<[String]>,
}

/// How a service knows users and what is theirs.
pub struct Trust {
    /// Where the keys of users' tokens are published.
    pub keys: Arc<dyn KeySource>,
    /// Whose the service's objects are.
    pub guard: Arc<dyn Guard>,
}

/// More streams on one connection wait.
const STREAMS_PER_CONNECTION_MAX: u32 = 2_048;
/// Larger headers are refused.
const HEADER_BYTES_MAX: u32 = 8 * 1024;
/// A stream's flow control window: one batch of usage and some.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Calls that are in flight when the drain ends get so long to finish.
const FINISH_MAX: Duration = Duration::from_secs(15);

impl Frame {
    /// Opens the pool and takes over the database's clock. `clock` may be shared by services of one process.
    pub async fn open(
        service: Service,
        config: &Config,
        clock: Clock,
        draining: CancellationToken,
    ) -> anyhow::Result<Self> {
        let pool = crate::db::pool(&config.database_url, service.name, config.database_connections_max)?;
        let deployment = crate::db::deployment(&pool, service.schema).await;
        match deployment {
            Ok(deployment) if deployment.is_test && clock.offset_micros() == 0 => {
                clock.start_at(deployment.clock_offset_micros);
            }
            Ok(deployment) if deployment.is_test => clock.adopt(deployment.clock_offset_micros),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, service = service.name, "the database does not answer yet"),
        }
        Ok(Self {
            service,
            pool,
            clock,
            nudge: Arc::new(Notify::new()),
            draining,
            work: Arc::new([]),
            workers: TaskTracker::new(),
            stopped: CancellationToken::new(),
            workers_paused: config.workers_paused.clone().into(),
        })
    }

    /// Starts a loop that ends with the service, unless it is paused.
    pub fn spawn_worker<F, W>(&self, name: &'static str, interval: Duration, work: W)
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<Pace>> + Send + 'static,
    {
        if self.workers_paused.iter().any(|paused| paused == name) {
            tracing::warn!(worker = name, "this loop is paused and does not run here");
            return;
        }
        let nudge = Arc::clone(&self.nudge);
        self.workers.spawn(worker::run(name, interval, nudge, self.stopped.clone(), work));
    }

    /// Shows operators work of the service's own, besides its outbox.
    #[must_use]
    pub fn with_work(self, sources: impl Into<WorkSources>) -> Self {
        Self { work: sources.into(), ..self }
    }

    /// Where calls and changes are noted.
    fn journal(&self) -> Journal {
        Journal { pool: self.pool.clone(), schema: self.service.schema }
    }

    /// Starts the shipping of what was noted.
    pub fn spawn_audit(&self, ship: Ship) {
        let journal = self.journal();
        self.spawn_worker("ship_audit", SHIP_INTERVAL, move || {
            let (journal, ship) = (journal.clone(), Arc::clone(&ship));
            async move { ship_waiting(&journal, &ship).await }
        });
    }

    /// Starts the relay of a destination.
    pub fn spawn_relay(&self, relay: Relay) {
        self.spawn_worker("relay_events", RELAY_INTERVAL, move || {
            let relay = relay.clone();
            async move { relay.pass().await }
        });
    }

    /// Serves until drained: NOT_SERVING, then the drain delay, then no new calls; calls in flight and workers finish.
    pub async fn serve(
        self,
        config: &Config,
        listener: TcpListener,
        routes: Routes,
        trust: Trust,
    ) -> anyhow::Result<()> {
        let service = self.service;
        let verifier = Verifier::new(service.name, &config.trusted_keys)?;
        let auth =
            layer::auth::Authenticate::new(verifier, UserKeys::new(trust.keys), trust.guard, self.journal());
        let (reporter, health) = tonic_health::server::health_reporter();
        let services = service_names(service.name);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        };
        let listed = |builder: tonic_reflection::server::Builder<'static>| {
            services.iter().fold(builder, |builder, name| builder.with_service_name(name.clone()))
        };
        let clock = ClockRoom { pool: self.pool.clone(), schema: service.schema, clock: self.clock.clone() };
        let work =
            WorkRoom { pool: self.pool.clone(), schema: service.schema, sources: Arc::clone(&self.work) };
        let routes = routes
            .add_service(ClockServiceServer::new(clock))
            .add_service(WorkServiceServer::new(work))
            .add_service(health)
            .add_service(listed(reflection()).build_v1()?)
            .add_service(listed(reflection()).build_v1alpha()?);
        let version = service.migrator.iter().map(|migration| migration.version).max();
        let readiness = Readiness { pool: self.pool.clone(), schema: service.schema, version, services };
        let layers = layers(service.name, auth, config.calls_in_flight_max);

        let stop_accepting = CancellationToken::new();
        let reporting = tokio::spawn(readiness.report(reporter, self.draining.clone(), self.stopped.clone()));
        let drain = tokio::spawn(drain(self.draining.clone(), stop_accepting.clone(), config.drain_delay));
        let serving = Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .layer(tower::layer::layer_fn(move |routes: Routes| Layered::new(Arc::clone(&layers), routes)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)).map_ok(Gathered::new),
                stop_accepting.clone().cancelled_owned(),
            );
        let finish = async {
            stop_accepting.cancelled().await;
            tokio::time::sleep(FINISH_MAX).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(anyhow::Error::from),
            () = finish => Ok(()),
        };
        self.draining.cancel();
        self.stopped.cancel();
        self.workers.close();
        self.workers.wait().await;
        drain.abort();
        reporting.await?;
        let claim = Claim { pool: &self.pool, schema: service.schema };
        if let Err(error) = claim.release_all().await {
            tracing::warn!(%error, "claims were not given back; they run out by themselves");
        }
        self.pool.close().await;
        served
    }
}

async fn drain(draining: CancellationToken, stop_accepting: CancellationToken, delay: Duration) {
    draining.cancelled().await;
    tokio::time::sleep(delay).await;
    stop_accepting.cancel();
}

/// The order is the contract of the frame: refused calls are traced, counted and logged too.
fn layers(
    service: &'static str,
    auth: layer::auth::Authenticate,
    calls_in_flight_max: usize,
) -> Arc<[Arc<dyn Layer>]> {
    Arc::new([
        Arc::new(layer::panic::CatchPanic),
        Arc::new(layer::request_id::RequestId),
        Arc::new(layer::trace::Trace { service }),
        Arc::new(layer::access_log::AccessLog { service }),
        Arc::new(layer::deadline::Deadline),
        Arc::new(layer::limit::Limit::new(calls_in_flight_max)),
        Arc::new(auth),
    ])
}

/// The contract's services of a deployable: its own package and the operators' one; then health and reflection.
fn service_names(name: &str) -> Vec<String> {
    let package = format!("/tallystick.{}.v1.", name.trim_end_matches("-svc"));
    let mut names: Vec<String> = tallystick_proto::access::METHODS
        .iter()
        .filter(|method| method.path.starts_with(&package) || method.path.starts_with("/tallystick.ops.v1."))
        .filter_map(|method| method.path.split('/').nth(1).map(str::to_owned))
        .collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn layers_stand_in_the_documented_order() {
        struct None;
        impl KeySource for None {
            fn keys(&self) -> std::pin::Pin<Box<dyn Future<Output = crate::user::Keys> + Send + '_>> {
                Box::pin(async { Ok(Vec::new()) })
            }
        }
        let verifier = Verifier::new("x", &[]).unwrap();
        let guard = Arc::new(crate::guard::NothingElse);
        let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy("postgres://nowhere").unwrap();
        let journal = Journal { pool, schema: Schema("x") };
        let auth = layer::auth::Authenticate::new(verifier, UserKeys::new(Arc::new(None)), guard, journal);
        let names: Vec<_> = layers("x", auth, 1).iter().map(|layer| layer.name()).collect();
        assert_eq!(names, ["panic", "request_id", "trace", "access_log", "deadline", "limit", "auth"]);
    }

    #[test]
    fn a_deployable_lists_its_own_services_and_the_operators() {
        let names = service_names("billing-svc");
        assert!(names.contains(&"tallystick.billing.v1.BillService".to_owned()));
        assert!(names.contains(&"tallystick.ops.v1.ClockService".to_owned()));
        assert!(names.iter().all(|name| !name.contains("settlement")));
    }
}
