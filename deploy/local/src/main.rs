//! `cargo run`: all of Tallystick on this machine, with nothing to set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::auth::Signer;
use chassis::civil::UsageDate;
use chassis::cluster::{Cluster, Durability, Server, private_file};
use chassis::config::Mail;
use chassis::shutdown;
use chassis::site::Site;
use chassis::telemetry::{self, LogFormat};
use clap::{Parser, Subcommand};
use local::bill_file::{self, Job};
use local::load_usage::{self, Load};
use local::stack::{SERVICES, Stack, StackConfig};
use local::usage_file::Format;
use local::{databases, demonstration, prices, screen};
use tokio_util::sync::CancellationToken;

/// Strings of records come and go by the million.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Days of usage that are taken; an older day is only priced.
const HORIZON_DAYS: i64 = 34;
/// A token lives ten minutes: the file has a new one well before.
const TOKEN_REFRESH: Duration = Duration::from_secs(240);

/// Where the token is, below the home.
const TOKEN_FILE: &str = "operator.token";

/// All of Tallystick in one process, on a PostgreSQL of its own. Without a command: the demonstration, then it keeps serving.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The first of four ports on the loopback address: account, workspace, billing, settlement. Metrics are ten further.
    #[arg(long, env = "TALLYSTICK_PORT_BASE", default_value_t = 50_051, global = true)]
    port_base: u16,
    /// A PostgreSQL server to use instead of a private one, with a role that may create databases and roles.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// Where the private PostgreSQL and the token file live.
    #[arg(long, env = "TALLYSTICK_HOME", global = true)]
    home: Option<PathBuf>,
    /// The database to use instead of the command's own.
    #[arg(long, env = "TALLYSTICK_DATABASE", global = true)]
    database: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the demonstration and ends.
    Demo,
    /// Serves without the demonstration, in real time.
    Up,
    /// Takes a usage file through the whole journey; prices it when the day is too old to be reported.
    Bill {
        /// CSV with the header meter,dimension,retention_days,quantity.
        #[arg(long)]
        usage: PathBuf,
        /// The billing day, such as 2026-11-23.
        #[arg(long)]
        date: String,
        /// The site, such as CN1_HANGZHOU or US1_OREGON.
        #[arg(long, default_value = "CN1_HANGZHOU")]
        site: String,
        /// CNY or USD; the site's own unless given.
        #[arg(long, default_value = "")]
        currency: String,
        /// What the wallet is topped up with.
        #[arg(long, default_value = "100.00")]
        top_up: String,
        /// A voucher to grant first.
        #[arg(long, default_value = "")]
        voucher: String,
    },
    /// Sends a file of usage records to services that run, and counts each once, however often it is sent. What is refused is
    /// written beside the file.
    Ingest {
        /// CSV with the header workspace_id,event_id,event_time,meter,dimension,quantity (and count_from_time, if need be), or CloudEvents, one in each line.
        file: PathBuf,
        /// What is in it; by default CSV in .csv, CloudEvents in .jsonl and .ndjson.
        #[arg(long)]
        format: Option<Format>,
        /// Where workspace-svc is; by default the one of this machine, on the second port.
        #[arg(long)]
        address: Option<String>,
        /// What the event ids of a CSV file are ids of, unless they are UUIDs; by default the file's name. An event names its own.
        #[arg(long)]
        source: Option<String>,
        /// The token of an operator or service; by default the one that is renewed while `up` or the demonstration serves.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
    /// Removes everything that earlier runs left, and ends.
    Reset {
        /// With DATABASE_URL: yes, drop every database named tallystick or tallystick_... on that server.
        #[arg(long)]
        yes: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::line(&format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What commands stand on.
struct Place {
    home: PathBuf,
    server: Server,
    port_base: u16,
    database: Option<String>,
    cluster: Option<Cluster>,
    telemetry: telemetry::Telemetry,
    interrupted: CancellationToken,
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = arguments.home.clone().unwrap_or_else(|| checkout.join(".local"));
    if let Some(Command::Reset { yes }) = arguments.command {
        return reset(&home, arguments.database_url.as_deref(), yes).await;
    }
    if let Some(Command::Ingest { file, format, address, source, token_file }) = arguments.command {
        let near = || format!("http://127.0.0.1:{}", arguments.port_base.saturating_add(1));
        let address = address.unwrap_or_else(near);
        let token_file = token_file.unwrap_or_else(|| home.join(TOKEN_FILE));
        return ingest(Load { format: Format::given(format, &file)?, file, source, address, token_file })
            .await;
    }
    let filter = std::env::var("LOG_FILTER").unwrap_or_else(|_| "warn".to_owned());
    let otlp = std::env::var("OTLP_ENDPOINT").ok();
    let telemetry = telemetry::start("tallystick-local", &filter, LogFormat::Plain, otlp.as_deref())?;
    let interrupted = shutdown::on_signal();
    let (server, cluster) = match &arguments.database_url {
        Some(url) => (Server::from_url(url)?, None),
        None => {
            screen::step("starting PostgreSQL");
            let cluster = Cluster::open(&home.join("postgres"), Durability::Kept, &mut screen::step).await?;
            (cluster.server.clone(), Some(cluster))
        }
    };
    let place = Place {
        home,
        server,
        port_base: arguments.port_base,
        database: arguments.database,
        cluster,
        telemetry,
        interrupted,
    };
    let done = match arguments.command {
        None => serve_demonstration(&place).await,
        Some(Command::Demo) => play_demonstration(&place).await,
        Some(Command::Up) => serve_main(&place).await,
        Some(Command::Bill { usage, date, site, currency, top_up, voucher }) => {
            let text =
                std::fs::read_to_string(&usage).with_context(|| format!("reading {}", usage.display()))?;
            let day = date.parse::<UsageDate>().with_context(|| format!("--date {date}"))?;
            let site = Site::from_word(&site).with_context(|| format!("--site {site}"))?;
            bill(&place, Job { text, day, site, currency_code: currency, top_up, voucher }).await
        }
        Some(Command::Ingest { .. } | Command::Reset { .. }) => Ok(()),
    };
    place.telemetry.shutdown();
    if let Some(cluster) = place.cluster {
        cluster.stop()?;
    }
    done
}

async fn start(place: &Place, database: &str, port_base: u16) -> anyhow::Result<Stack> {
    screen::step("starting the four services");
    let drain_delay = Duration::from_millis(50);
    let mail = Mail::Folder(place.home.join("mails"));
    Stack::start(StackConfig {
        server: &place.server,
        database,
        port_base,
        drain_delay,
        mail,
        workers_paused: &[],
    })
    .await
}

async fn serve_demonstration(place: &Place) -> anyhow::Result<()> {
    let stack = start_demonstration(place).await?;
    let played = demonstration::play(&stack.clients()?).await?;
    print_lines_to_copy(place, &stack, Some(&played));
    serve(place, stack).await
}

async fn play_demonstration(place: &Place) -> anyhow::Result<()> {
    let stack = start_demonstration(place).await?;
    demonstration::play(&stack.clients()?).await?;
    stack.stop().await
}

async fn start_demonstration(place: &Place) -> anyhow::Result<Stack> {
    let today = UsageDate::of(chassis::clock::Clock::system().now());
    screen::step("migrating the database of the demonstration");
    let database = place.database.as_deref().unwrap_or(databases::DEMONSTRATION);
    if !databases::prepare_before(&place.server, database, today).await? {
        screen::step("the demonstration was begun before: what was done is found, not done again");
    }
    start(place, database, place.port_base).await
}

async fn serve_main(place: &Place) -> anyhow::Result<()> {
    screen::step("migrating the database");
    let database = place.database.as_deref().unwrap_or(databases::MAIN);
    databases::prepare(&place.server, database).await?;
    let stack = start(place, database, place.port_base).await?;
    let count = prices::load(&stack.clients()?).await?;
    screen::step(&format!("{count} prices are loaded"));
    print_lines_to_copy(place, &stack, None);
    serve(place, stack).await
}

/// Serves until Ctrl-C, with a fresh token in the file all the while.
async fn serve(place: &Place, mut stack: Stack) -> anyhow::Result<()> {
    let metrics = SocketAddr::from(([127, 0, 0, 1], place.port_base + 10));
    if let Err(error) = telemetry::serve_metrics(metrics) {
        screen::step(&format!("no metrics: {error:#}"));
    } else {
        screen::step(&format!("metrics: http://{metrics}/metrics"));
    }
    screen::line("\nServing. Ctrl-C stops.");
    let file = place.home.join(TOKEN_FILE);
    loop {
        write_token(&file, &stack.operator)?;
        tokio::select! {
            () = place.interrupted.cancelled() => break,
            error = stack.failed() => return Err(error),
            () = tokio::time::sleep(TOKEN_REFRESH) => {}
        }
    }
    screen::line("\nStopping.");
    stack.stop().await
}

fn write_token(file: &std::path::Path, operator: &Signer) -> anyhow::Result<()> {
    use std::io::Write as _;
    let token = operator.token(&SERVICES.map(|service| service.name))?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut handle = private_file(file)?;
    handle.set_len(0)?;
    handle.write_all(token.as_bytes())?;
    Ok(())
}

fn print_lines_to_copy(place: &Place, stack: &Stack, played: Option<&demonstration::Played>) {
    let [account, workspace, billing, settlement] = stack.addresses;
    let home = place.home.canonicalize().unwrap_or_else(|_| place.home.clone());
    let file = home.join(TOKEN_FILE);
    screen::heading("Operator token (lives ten minutes; the file is renewed while this runs)");
    match stack.operator.token(&SERVICES.map(|service| service.name)) {
        Ok(token) => screen::line(&token),
        Err(error) => screen::step(&format!("no token: {error:#}")),
    }
    screen::heading("Next steps, to copy");
    screen::line(&format!("  TOKEN=\"authorization: Bearer $(cat {})\"", file.display()));
    screen::line(&format!("  grpcurl -plaintext {billing} list"));
    screen::line(&format!("  grpcurl -plaintext {workspace} describe tallystick.workspace.v1.UsageRecord"));
    screen::line(&format!(
        "  grpcurl -plaintext -H \"$TOKEN\" {account} tallystick.account.v1.BillingAccountService/List"
    ));
    if let Some(played) = played {
        let sign_in = format!(
            "{{\"username\":\"{}\",\"password\":\"{}\"}}",
            demonstration::USERNAME,
            demonstration::PASSWORD
        );
        screen::line(&format!(
            "  grpcurl -plaintext -d '{sign_in}' {account} tallystick.account.v1.SessionService/SignIn"
        ));
        let payer = &played.registration.billing_account_id;
        let call = |address: SocketAddr, body: String, method: &str| {
            screen::line(&format!("  grpcurl -plaintext -H \"$TOKEN\" -d '{body}' {address} {method}"));
        };
        let bill = format!("{{\"bill_id\":\"{}\"}}", played.bill_id);
        call(billing, bill, "tallystick.billing.v1.BillService/Get");
        let wallet = format!("{{\"billing_account_id\":\"{payer}\"}}");
        call(settlement, wallet.clone(), "tallystick.settlement.v1.WalletService/GetBalance");
        call(settlement, wallet, "tallystick.settlement.v1.WalletService/ListEntries");
    }
}

async fn bill(place: &Place, job: Job) -> anyhow::Result<()> {
    let today = UsageDate::of(chassis::clock::Clock::system().now());
    anyhow::ensure!(job.day <= today, "{} is in the future", job.day);
    if job.day < today.plus_days(-HORIZON_DAYS) {
        let database = place.database.as_deref().unwrap_or(databases::MAIN);
        databases::prepare(&place.server, database).await?;
        let stack = start(place, database, 0).await?;
        let clients = stack.clients()?;
        let quoted = async {
            prices::load(&clients).await?;
            let rows = bill_file::read(&clients, &job).await?;
            let quote = bill_file::quote(&clients, &job, &rows).await?;
            bill_file::show_quote(&job, &quote);
            anyhow::Ok(())
        };
        let done = quoted.await;
        stack.stop().await?;
        return done;
    }
    let own = format!("tallystick_file_{}", job.namespace().simple());
    let name = place.database.clone().unwrap_or(own);
    if !databases::prepare_before(&place.server, &name, job.day).await? {
        screen::step("this file was billed before: what was done is found, not done again");
    }
    let stack = start(place, &name, 0).await?;
    let billed = bill_file::bill(&stack.clients()?, &job).await;
    stack.stop().await?;
    billed.map(drop)
}

async fn ingest(load: Load) -> anyhow::Result<()> {
    let report = load_usage::load(&load).await?;
    load_usage::show(&report);
    if let Some(undelivered) = report.undelivered {
        let again = "run it again: what was counted is not counted twice";
        return Err(anyhow::Error::new(undelivered).context(format!("not everything was sent; {again}")));
    }
    anyhow::ensure!(report.counts.refused == 0, "{} lines were refused", report.counts.refused);
    Ok(())
}

async fn reset(home: &std::path::Path, database_url: Option<&str>, yes: bool) -> anyhow::Result<()> {
    if let Some(url) = database_url {
        anyhow::ensure!(
            yes,
            "DATABASE_URL is set: add --yes to drop every database named tallystick... on that server"
        );
        let count = databases::drop_all(&Server::from_url(url)?).await?;
        screen::step(&format!("{count} databases dropped"));
        return Ok(());
    }
    if !home.exists() {
        screen::step("there is nothing to remove");
        return Ok(());
    }
    let folders = Cluster::remove(&home.join("postgres"))?;
    std::fs::remove_dir_all(home).with_context(|| format!("removing {}", home.display()))?;
    screen::step(&format!("removed {} and {folders} cluster", home.display()));
    Ok(())
}
