//! The sub-commands that every service has: `serve`, `migrate`, `check`, `health`.

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Env, ProcessConfig};
use crate::server::Service;
use crate::telemetry::{self, LogFormat};

/// A Tallystick service. Configuration comes from the environment; the service's README lists every variable.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or Ctrl-C.
    Serve,
    /// Brings the schema to this version, with the owner role in DATABASE_URL.
    Migrate {
        /// Marks a database that was just made as one for tests, whose clock can be moved.
        #[arg(long)]
        test_database: bool,
    },
    /// Shows the effective configuration with secrets hidden, connects, and says what is wrong.
    Check,
    /// Asks a running service for its health: exit code 0 when it serves.
    Health {
        /// The gRPC service to ask for; empty for the process.
        #[arg(long, default_value = "")]
        service: String,
    },
}

/// The whole program of a service. `serve` is what its library exposes.
pub async fn run<S, F>(service: Service, serve: S) -> ExitCode
where
    S: FnOnce(Config, Clock, TcpListener, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let result = match Arguments::parse().command {
        Command::Serve => run_serve(service, serve).await,
        Command::Migrate { test_database } => migrate(service, test_database).await,
        Command::Check => check(service).await,
        Command::Health { service } => health(&service).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)]
fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}");
}

type Shown = Vec<(&'static str, String)>;

fn read(service: Service) -> anyhow::Result<(Config, ProcessConfig, Shown)> {
    let mut env = Env::process();
    let config = Config::read(&mut env, service.name);
    let process = ProcessConfig::read(&mut env);
    let shown = env.finish()?;
    match config.zip(process) {
        Some((config, process)) => Ok((config, process, shown)),
        None => anyhow::bail!("the configuration is not usable"),
    }
}

async fn run_serve<S, F>(service: Service, serve: S) -> anyhow::Result<()>
where
    S: FnOnce(Config, Clock, TcpListener, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let (config, process, _) = read(service)?;
    let telemetry = telemetry::start(
        service.name,
        &process.log_filter,
        LogFormat::Json,
        process.otlp_endpoint.as_deref(),
    )?;
    if let Some(address) = process.metrics_listen_addr {
        telemetry::serve_metrics(address)?;
    }
    let listener = TcpListener::bind(process.grpc_listen_addr).await?;
    tracing::info!(service = service.name, address = %process.grpc_listen_addr, "serving");
    let result = serve(config, Clock::system(), listener, crate::shutdown::on_signal()).await;
    telemetry.shutdown();
    result
}

async fn migrate(service: Service, test_database: bool) -> anyhow::Result<()> {
    let mut env = Env::process();
    let url = env.secret("DATABASE_URL");
    env.finish()?;
    let Some(url) = url else { anyhow::bail!("DATABASE_URL is not set") };
    let pool = PgPoolOptions::new().max_connections(1).connect(url.expose_secret()).await?;
    service.migrator.run(&pool).await?;
    if test_database {
        crate::db::mark_test(&pool, service.schema, 0).await?;
    }
    pool.close().await;
    Ok(())
}

#[allow(clippy::print_stdout)]
async fn check(service: Service) -> anyhow::Result<()> {
    let (config, _, shown) = read(service)?;
    for (name, value) in shown {
        println!("{name}={value}");
    }
    let pool = crate::db::pool(&config.database_url, service.name, 1)?;
    let version = crate::db::schema_version(&pool, service.schema).await?;
    let needed = service.migrator.iter().map(|migration| migration.version).max();
    println!("schema {}: at {version:?}, this build needs {needed:?}", service.schema.0);
    anyhow::ensure!(version >= needed, "the schema is too old: run `{} migrate`", service.name);
    Ok(())
}

async fn health(name: &str) -> anyhow::Result<()> {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let mut env = Env::process();
    let process = ProcessConfig::read(&mut env);
    env.finish()?;
    let Some(process) = process else { anyhow::bail!("GRPC_LISTEN_ADDR is not set") };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", process.grpc_listen_addr))?;
    let mut client = HealthClient::new(endpoint.connect().await?);
    let answer = client.check(HealthCheckRequest { service: name.to_owned() }).await?.into_inner();
    anyhow::ensure!(answer.status() == ServingStatus::Serving, "{:?}", answer.status());
    Ok(())
}
