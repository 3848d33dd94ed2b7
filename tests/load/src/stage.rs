//! What is measured: the four services on a PostgreSQL of their own that flushes every commit, and workspaces that usage is sent for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::clock::Clock;
use chassis::cluster::{Cluster, Durability};
use chassis::config::Mail;
use chassis::id::uuid_at;
use chassis::peer::PeerChannel;
use chassis::wire::timestamp;
use local::clients::Clients;
use local::databases;
use local::journey::{Customer, Journey};
use local::stack::{Stack, StackConfig};
use sqlx::postgres::PgConnection;
use tallystick_proto::common::v1::Site;
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, UsageKey, UsageRecord, WorkspaceServiceCreateRequest,
};
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// Settings without which an ack means nothing.
const DURABLE: [&str; 3] = ["fsync", "synchronous_commit", "full_page_writes"];
/// Connections that records are sent over.
const CONNECTIONS: usize = 4;

/// Bytes of a page of PostgreSQL.
const PAGE: i64 = 8_192;

/// The stage.
pub struct Stage {
    cluster: Cluster,
    database: String,
    /// The services', apart from that of the load: whoever uses them is another process.
    _runtime: Services,
    stack: Stack,
    producers: Vec<Clients>,
    place: AtomicUsize,
    workspaces: Arc<[String]>,
    begun: Instant,
    now: OffsetDateTime,
}

impl Stage {
    /// Opens it, with so many commercial workspaces of one payer; no day is sealed, and these loops of the services do not run either.
    pub async fn open(workspace_count: usize, workers_paused: &[&str]) -> anyhow::Result<Self> {
        let target = std::env::current_exe()?;
        let target = target.ancestors().nth(2).map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = target.join("load-postgres");
        let cluster = Cluster::open(&folder, Durability::KeptLarge, &mut |text| println!("{text}")).await?;
        let database = format!("load_{}", std::process::id());
        let day = UsageDate::of(Clock::system().now());
        databases::prepare_before(&cluster.server, &database, day).await?;
        let mail = Mail::Folder(std::env::temp_dir().join(format!("{database}-mails")));
        let workers_paused: Vec<&str> = [&["seal_days"], workers_paused].concat();
        let config = StackConfig {
            server: &cluster.server,
            database: &database,
            port_base: 0,
            drain_delay: Duration::ZERO,
            mail,
            workers_paused: &workers_paused,
        };
        let runtime = Services(Some(Builder::new_multi_thread().enable_all().build()?));
        let stack = runtime.start(config)?;
        let clients = stack.clients()?;
        let workspaces = workspaces(&clients, workspace_count.max(1)).await?;
        let signer = stack.signers.get(2).context("there is no producer")?;
        let producers: anyhow::Result<Vec<_>> =
            (0..CONNECTIONS).map(|_| Clients::connect(&stack.addresses, signer)).collect();
        let now = clients.now().await?;
        let place = AtomicUsize::new(0);
        let stage = Self {
            cluster,
            database,
            producers: producers?,
            _runtime: runtime,
            stack,
            place,
            workspaces: workspaces.into(),
            begun: Instant::now(),
            now,
        };
        stage.show_settings().await?;
        Ok(stage)
    }

    async fn show_settings(&self) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        let mut shown = Vec::new();
        for name in
            DURABLE.into_iter().chain(["shared_buffers", "max_wal_size", "wal_compression", "wal_buffers"])
        {
            let value: String =
                sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&mut admin).await?;
            anyhow::ensure!(
                value == "on" || !DURABLE.contains(&name),
                "{name} is {value}: what is acked would not be on disk"
            );
            shown.push(format!("{name}={value}"));
        }
        println!("PostgreSQL: {}", shown.join(" "));
        Ok(())
    }

    /// A connection of the administrator, to the database of the services.
    pub async fn admin(&self) -> anyhow::Result<PgConnection> {
        Ok(self.cluster.server.connect(&self.database).await?)
    }

    /// What the services' clock said when the stage was opened.
    pub fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// Puts the services' clock an hour ahead; sources do not follow.
    pub async fn let_an_hour_pass(&self) -> anyhow::Result<()> {
        let clients = self.stack.clients()?;
        clients.advance_to(clients.now().await? + time::Duration::HOUR).await
    }

    /// Where workspace-svc listens.
    pub fn workspace_address(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.stack.addresses.get(1).copied().context("workspace-svc has no address")
    }

    /// Puts everything that was written on disk, so that the next part is not measured with the writing of the last one.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        sqlx::raw_sql("drop table if exists load_raw; checkpoint").execute(&mut admin).await?;
        Ok(())
    }

    /// The first so many workspaces, in order of id.
    pub fn some_workspaces(&self, count: usize) -> Vec<String> {
        let mut workspaces = self.workspaces.to_vec();
        workspaces.sort_unstable();
        workspaces.truncate(count);
        workspaces
    }

    /// Only the client that usage is sent with: a producer has two dozen others.
    pub fn usage(&self) -> anyhow::Result<UsageServiceClient<PeerChannel>> {
        let place = self.place.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        self.producers.get(place).map(|clients| clients.usage.clone()).context("there is no producer")
    }

    /// A client of another caller, on a connection of its own.
    pub fn stranger(&self) -> anyhow::Result<UsageServiceClient<PeerChannel>> {
        let signer = self.stack.signers.get(3).context("there is no other caller")?;
        Ok(Clients::connect(&self.stack.addresses, signer)?.usage)
    }

    /// A producer: they take turns, so that calls spread over the connections.
    pub fn producer(&self) -> anyhow::Result<Clients> {
        let place = self.place.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        self.producers.get(place).cloned().context("there is no producer")
    }

    /// What makes batches, for a task of its own.
    pub fn source(&self) -> Source {
        Source { workspaces: Arc::clone(&self.workspaces), begun: self.begun, now: self.now, next: 0 }
    }

    /// What was written so far: WAL of everything, and the partitions of this table.
    pub async fn sizes(&self, parent: &str) -> anyhow::Result<Sizes> {
        let sql = "with parts as (select inhrelid as part from pg_inherits where inhparent = $1::text::regclass) \
                   select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint as wal, \
                     (select coalesce(sum(pg_relation_size(part, 'main')), 0)::bigint from parts) as table_bytes, \
                     (select coalesce(sum(pg_relation_size(indexrelid, 'main')), 0)::bigint \
                      from parts join pg_index on indrelid = part) as index_bytes, \
                     (select coalesce(sum(pg_total_relation_size(part)), 0)::bigint from parts) as all_bytes";
        Ok(sqlx::query_as(sql).bind(parent).fetch_one(&mut self.admin().await?).await?)
    }

    /// Stops the services and drops the database.
    pub async fn close(self) -> anyhow::Result<()> {
        self.stack.stop().await?;
        chassis::scratch::drop_database(&self.cluster.server, &self.database).await?;
        self.cluster.stop()
    }
}

/// Where the services run. It is let go from inside of another runtime, which must not wait for it.
struct Services(Option<Runtime>);

impl Services {
    fn start(&self, config: StackConfig<'_>) -> anyhow::Result<Stack> {
        let runtime = self.0.as_ref().context("the services' runtime is gone")?;
        tokio::task::block_in_place(|| runtime.block_on(Stack::start(config)))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where records are.
pub const RECORDS: &str = "workspace.usage_records";
/// Where keys are.
pub const KEYS: &str = "workspace.usage_keys";

/// Bytes that were written.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Sizes {
    /// WAL since the cluster was made, whatever it is of.
    pub wal: i64,
    /// Pages of partitions.
    pub table_bytes: i64,
    /// Pages of their indexes.
    pub index_bytes: i64,
    /// Both, and the maps of both.
    pub all_bytes: i64,
}

impl Sizes {
    /// What has been written since.
    pub fn since(self, before: Self) -> Self {
        Self {
            wal: self.wal - before.wal,
            table_bytes: self.table_bytes - before.table_bytes,
            index_bytes: self.index_bytes - before.index_bytes,
            all_bytes: self.all_bytes - before.all_bytes,
        }
    }

    /// Pages of tables, of indexes, and of their maps, in words.
    pub fn pages(self) -> String {
        let maps = self.all_bytes - self.table_bytes - self.index_bytes;
        let [table, index, maps] = [self.table_bytes, self.index_bytes, maps].map(|bytes| bytes / PAGE);
        format!("{table} pages of tables, {index} of indexes, {maps} of maps")
    }
}

/// Makes batches of new records.
pub struct Source {
    workspaces: Arc<[String]>,
    begun: Instant,
    now: OffsetDateTime,
    next: usize,
}

impl Source {
    /// What the services' clock says.
    pub fn moment(&self) -> OffsetDateTime {
        self.now + self.begun.elapsed()
    }

    /// These keys in their order, one of each workspace in turn, seen at a moment.
    pub fn keys(
        &self,
        meter: &str,
        keys: impl Iterator<Item = String>,
        moment: OffsetDateTime,
    ) -> Vec<UsageKey> {
        let workspaces = self.workspaces.iter().cycle();
        let key = |(key, workspace): (String, &String)| UsageKey {
            workspace_id: workspace.clone(),
            meter: meter.to_owned(),
            dimension: String::new(),
            event_time: Some(timestamp(moment)),
            key,
            size: String::new(),
        };
        keys.zip(workspaces).map(key).collect()
    }

    /// So many records that nobody has sent yet.
    pub fn batch(&mut self, count: usize) -> Vec<UsageRecord> {
        let moment = self.moment();
        let record = |_| {
            self.next += 1;
            let workspace = self.workspaces.get(self.next % self.workspaces.len());
            UsageRecord {
                workspace_id: workspace.cloned().unwrap_or_default(),
                event_id: uuid_at(Clock::system().now()).to_string(),
                event_time: Some(timestamp(moment)),
                meter: "pv".to_owned(),
                dimension: String::new(),
                quantity: "1".to_owned(),
                count_from_time: None,
            }
        };
        (0..count).map(record).collect()
    }
}

/// A customer whose workspaces are commercial and take usage now.
async fn workspaces(clients: &Clients, count: usize) -> anyhow::Result<Vec<String>> {
    let customer = Customer {
        namespace: Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"load"),
        site: Site::Cn1Hangzhou.into(),
        currency_code: "CNY".to_owned(),
        email: "load@example.com".to_owned(),
        username: "load-ltd".to_owned(),
        workspace_name: "load".to_owned(),
        password: String::new(),
    };
    let registration = Journey { clients: clients.clone(), customer }.register().await?;
    let mut workspaces = vec![registration.workspace_id.clone()];
    let fresh = || uuid_at(Clock::system().now()).to_string();
    for number in 1..count {
        let create = WorkspaceServiceCreateRequest {
            request_id: fresh(),
            owner_console_account_id: registration.console_account_id.clone(),
            name: format!("load {number}"),
            site: registration.site,
            language: 0,
        };
        let made = clients.workspaces.clone().create(create).await?.into_inner();
        let workspace_id = made.workspace.context("a workspace was not answered")?.workspace_id;
        let bind = BindingServiceBindRequest {
            request_id: fresh(),
            workspace_id: workspace_id.clone(),
            billing_account_id: registration.billing_account_id.clone(),
            billing_account_code: None,
        };
        clients.bindings.clone().bind(bind).await?;
        workspaces.push(workspace_id);
    }
    // From the next full hour on they are commercial: trials have quotas.
    let now = clients.now().await?;
    clients.advance_to(chassis::civil::next_full_hour(now) + time::Duration::MINUTE).await?;
    Ok(workspaces)
}
