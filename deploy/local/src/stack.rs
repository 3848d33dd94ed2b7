//! Starts and stops the four services.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use chassis::auth::{Holder, Signer, TrustedKey};
use chassis::clock::Clock;
use chassis::cluster::Server;
use chassis::config::{Config, Mail, PeerAddresses};
use chassis::server::Service;
use secrecy::SecretString;
use sqlx::Connection as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clients::Clients;

/// The four services, in the order of their ports.
pub const SERVICES: [Service; 4] =
    [account_svc::SERVICE, workspace_svc::SERVICE, billing_svc::SERVICE, settlement_svc::SERVICE];

/// A service that does not become ready by then will not.
const READY_MAX: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone)]
pub struct StackConfig<'a> {
    /// The server.
    pub server: &'a Server,
    /// The database on it, migrated.
    pub database: &'a str,
    /// The first of four ports; 0 for any free ones.
    pub port_base: u16,
    /// How long services that are to stop go on accepting.
    pub drain_delay: Duration,
    /// How mails leave.
    pub mail: Mail,
    /// Loops that do not run.
    pub workers_paused: &'a [&'a str],
}

/// Four services that serve.
pub struct Stack {
    /// Where they listen, in the order of `SERVICES`.
    pub addresses: [SocketAddr; 4],
    /// Signs operators' tokens.
    pub operator: Signer,
    /// The keys that the services trust.
    pub keys: Vec<TrustedKey>,
    /// Signs each service's tokens, in the order of `SERVICES`.
    pub signers: Vec<Signer>,
    /// The clock that they share.
    pub clock: Clock,
    draining: CancellationToken,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Stack {
    /// Starts all four, and waits until each is ready.
    pub async fn start(config: StackConfig<'_>) -> anyhow::Result<Self> {
        let mail = config.mail.clone();
        let workers_paused: Vec<String> =
            config.workers_paused.iter().map(|name| (*name).to_owned()).collect();
        let mut listeners = Vec::new();
        for offset in 0..4 {
            let port = if config.port_base == 0 { 0 } else { config.port_base + offset };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let listener = TcpListener::bind(address).await;
            listeners.push(
                listener.with_context(|| format!("{address} is taken: is Tallystick running already?"))?,
            );
        }
        let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
        let addresses: [SocketAddr; 4] =
            addresses?.try_into().map_err(|_| anyhow::anyhow!("there are not four listeners"))?;
        let signers: anyhow::Result<Vec<_>> = SERVICES
            .iter()
            .map(|service| Signer::new(service.name, service.name, &Signer::generate_secret()?))
            .collect();
        let signers = signers?;
        let operator = Signer::new("operator", "local", &Signer::generate_secret()?)?;
        let mut keys: Vec<_> = SERVICES
            .iter()
            .zip(&signers)
            .map(|(service, signer)| signer.trusted_key(Holder::Service(service.name.to_owned())))
            .collect();
        keys.push(operator.trusted_key(Holder::Operator));
        let session_secret = SecretString::from(Signer::generate_secret()?);
        let clock = Clock::system();
        clock.start_at(kept_offset(config.server, config.database).await?);
        let draining = CancellationToken::new();
        let mut running = Vec::new();
        for ((service, signer), listener) in SERVICES.into_iter().zip(&signers).zip(listeners) {
            let url = config.server.role_url(service.schema.0, "app", config.database);
            let config = Config {
                database_url: SecretString::from(url),
                database_connections_max: 8,
                trusted_keys: keys.clone(),
                signer: signer.clone(),
                session_secret: Some(session_secret.clone()),
                mail: Some(mail.clone()),
                peers: peers(&addresses),
                drain_delay: config.drain_delay,
                calls_in_flight_max: 1_024,
                workers_paused: workers_paused.clone(),
            };
            running.push(spawn(service, config, clock.clone(), listener, draining.clone())?);
        }
        let stack = Self { addresses, operator, keys, signers, clock, draining, running };
        tokio::time::timeout(READY_MAX, stack.ready())
            .await
            .context("the services did not become ready")??;
        Ok(stack)
    }

    /// Clients of all four, as an operator.
    pub fn clients(&self) -> anyhow::Result<Clients> {
        Clients::connect(&self.addresses, &self.operator)
    }

    /// The address of a service as a client wants it.
    pub fn uri(&self, service: &str) -> Option<String> {
        let place = SERVICES.iter().position(|known| known.name == service)?;
        self.addresses.get(place).map(|address| format!("http://{address}"))
    }

    /// Drains and stops all four.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.draining.cancel();
        for running in self.running {
            running.await??;
        }
        Ok(())
    }

    /// Ends with the first service that ends by itself.
    pub async fn failed(&mut self) -> anyhow::Error {
        let running = self.running.iter_mut().collect::<Vec<_>>();
        match futures_util::future::select_all(running).await.0 {
            Ok(Ok(())) => anyhow::anyhow!("a service has stopped"),
            Ok(Err(error)) => error.context("a service has failed"),
            Err(error) => anyhow::Error::new(error).context("a service has failed"),
        }
    }

    async fn ready(&self) -> anyhow::Result<()> {
        use tonic_health::pb::HealthCheckRequest;
        use tonic_health::pb::health_check_response::ServingStatus;
        use tonic_health::pb::health_client::HealthClient;
        for address in self.addresses {
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
            let mut client = HealthClient::new(endpoint.connect().await?);
            loop {
                let service = "tallystick.ops.v1.ClockService".to_owned();
                let answer = client.check(HealthCheckRequest { service }).await;
                if answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

fn peers(addresses: &[SocketAddr; 4]) -> PeerAddresses {
    let [account, workspace, billing, settlement] =
        addresses.map(|address| Some(format!("http://{address}")));
    PeerAddresses { account, workspace, billing, settlement }
}

fn spawn(
    service: Service,
    config: Config,
    clock: Clock,
    listener: TcpListener,
    draining: CancellationToken,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    Ok(match service.name {
        "account-svc" => tokio::spawn(account_svc::serve(config, clock, listener, draining)),
        "workspace-svc" => tokio::spawn(workspace_svc::serve(config, clock, listener, draining)),
        "billing-svc" => tokio::spawn(billing_svc::serve(config, clock, listener, draining)),
        "settlement-svc" => tokio::spawn(settlement_svc::serve(config, clock, listener, draining)),
        other => anyhow::bail!("no such service: {other}"),
    })
}

/// The farthest that any of the four schemas has kept the clock at: none goes back.
async fn kept_offset(server: &Server, database: &str) -> anyhow::Result<i64> {
    let mut admin = server.connect(database).await?;
    let offset: i64 = sqlx::query_scalar(
        "select greatest((select clock_offset_micros from account.deployment), \
         (select clock_offset_micros from workspace.deployment), (select clock_offset_micros from billing.deployment), \
         (select clock_offset_micros from settlement.deployment))",
    )
    .fetch_one(&mut admin)
    .await?;
    admin.close().await?;
    Ok(offset)
}
