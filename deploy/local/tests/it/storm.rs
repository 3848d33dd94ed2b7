//! Two servers on one database take the same records in any order, often twice, while servers, clients and PostgreSQL are killed: no acked record is
//! lost, none is counted twice, and every day seals to what was sent.
//!
//! `TALLYSTICK_KILLS=200 cargo test -p local -- storm` kills so often; 20 unless told.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration as Wait;

use chassis::civil::UsageDate;
use chassis::cluster::{Cluster, Durability, Server};
use chassis::wire;
use sqlx::Connection as _;
use tallystick_proto::ops::v1::clock_service_client::ClockServiceClient;
use tallystick_proto::ops::v1::{ClockServiceAdvanceRequest, ClockServiceGetRequest};
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    UsageRecord, UsageRefusal, UsageServiceIngestBatchRequest, UsageServiceIngestRequest,
    UsageServiceQueryRequest, UsageServiceSealDayRequest, WorkspaceServiceListRequest,
};
use time::Duration;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::serving::Serving;

const PORT_BASE: u16 = 22_800;
const RECORDS_PER_ROUND: usize = 400;
/// What dies in the rounds of a day; the last is inside the seal.
const ROUNDS: [Kill; 5] = [
    Kill::At("ingest.before_commit"),
    Kill::At("ingest.committed"),
    Kill::Postgres,
    Kill::Client,
    Kill::At("partition.made"),
];
const SEALS: [&str; 2] = ["seal.closed", "seal.chunk"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// A server, at a named point.
    At(&'static str),
    /// The database server, at any moment; both servers go down with it.
    Postgres,
    /// Whoever sends, at any moment.
    Client,
}

/// Numbers that look random and can be had again.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).for_each(|index| items.swap(index, self.below(index + 1)));
    }
}

/// A server that serves in real time plus what its database is ahead.
pub struct Up {
    pub child: Child,
    pub home: PathBuf,
    port_base: u16,
}

/// Where a server can be called.
#[derive(Clone)]
pub struct Address {
    pub channel: Channel,
    home: PathBuf,
}

impl Up {
    /// None: it was killed before it served.
    pub async fn start(server: &Server, database: &str, number: u16, kill_at: Option<&str>) -> Option<Self> {
        let port_base = PORT_BASE + number * 20;
        let home = std::env::temp_dir().join(format!("{database}-{number}-home"));
        std::fs::create_dir_all(&home).unwrap();
        let token = home.join("operator.token");
        let _ = std::fs::remove_file(&token);
        let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
        command
            .args(["up", "--port-base", &port_base.to_string(), "--database", database, "--home"])
            .arg(&home)
            .env("DATABASE_URL", server.admin_url("postgres"))
            .env_remove("TALLYSTICK_KILL_AT")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(point) = kill_at {
            command.env("TALLYSTICK_KILL_AT", point);
        }
        let mut child = command.spawn().unwrap();
        for _ in 0..1_200 {
            if token.exists() {
                return Some(Self { child, home, port_base });
            }
            if child.try_wait().unwrap().is_some() {
                assert!(kill_at.is_some(), "a server ended by itself");
                return None;
            }
            tokio::time::sleep(Wait::from_millis(50)).await;
        }
        panic!("a server does not serve");
    }

    pub fn address(&self) -> Address {
        let uri = format!("http://127.0.0.1:{}", self.port_base + 1);
        Address { channel: Endpoint::from_shared(uri).unwrap().connect_lazy(), home: self.home.clone() }
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Address {
    pub fn request<T>(&self, message: T) -> Request<T> {
        let token = std::fs::read_to_string(self.home.join("operator.token")).unwrap_or_default();
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", token.trim()).parse().unwrap());
        request.set_timeout(Wait::from_secs(20));
        request
    }

    /// By a call, or by a stream of one batch: acked wholly, or not known.
    async fn send(&self, records: Vec<UsageRecord>, by_stream: bool) -> Result<(), Status> {
        let count = i32::try_from(records.len()).unwrap();
        let mut usage = UsageServiceClient::new(self.channel.clone());
        let (acked, refusals): (i32, Vec<UsageRefusal>) = if by_stream {
            let batches = tokio_stream_of(UsageServiceIngestRequest { batch_seq: 1, records });
            let mut acks = usage.ingest(self.request(batches)).await?.into_inner();
            let ack = acks.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))?;
            (ack.accepted_count + ack.duplicate_count, ack.refusals)
        } else {
            let request = self.request(UsageServiceIngestBatchRequest { records });
            let ack = usage.ingest_batch(request).await?.into_inner();
            (ack.accepted_count + ack.duplicate_count, ack.refusals)
        };
        assert!(refusals.is_empty() && acked == count, "{refusals:?}, {acked} of {count}");
        Ok(())
    }
}

fn tokio_stream_of<T: Send + 'static>(message: T) -> impl futures_util::Stream<Item = T> + Send + 'static {
    futures_util::stream::iter([message])
}

/// Sends every record until it is acked, some of them twice, to whichever server answers.
pub async fn send_all(mut records: Vec<UsageRecord>, servers: Vec<Address>, seed: u64) {
    let mut numbers = Numbers(seed);
    let again: Vec<_> = records.iter().step_by(7).cloned().collect();
    records.extend(again);
    numbers.shuffle(&mut records);
    let mut rest = records.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((1 + numbers.below(60)).min(rest.len()));
        rest = after;
        loop {
            let server = &servers[numbers.below(servers.len())];
            match server.send(batch.to_vec(), numbers.below(2) == 0).await {
                Ok(()) => break,
                Err(status) => {
                    let passes = [
                        Code::Unavailable,
                        Code::Unknown,
                        Code::Internal,
                        Code::Cancelled,
                        Code::DeadlineExceeded,
                    ];
                    assert!(passes.contains(&status.code()), "{status:?}");
                    tokio::time::sleep(Wait::from_millis(20)).await;
                }
            }
        }
    }
}

/// What the story stands on.
struct Storm {
    folder: PathBuf,
    database: String,
    cluster: Option<Cluster>,
    servers: Vec<Option<Up>>,
    workspace: String,
    numbers: Numbers,
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("storm-{}", std::process::id()));
        let cluster = Cluster::open(&folder, Durability::Kept, &mut |_| {}).await.unwrap();
        let database = format!("storm_{}", std::process::id());
        let mut first = Serving::start(&cluster.server, &database, PORT_BASE, None).await;
        let list = first.request(WorkspaceServiceListRequest::default());
        let mut workspaces = WorkspaceServiceClient::new(first.channel(1));
        let workspace = workspaces.list(list).await.unwrap().into_inner().workspaces.remove(0).workspace_id;
        first.child.kill().await.unwrap();
        std::fs::remove_dir_all(&first.home).unwrap();
        let servers = vec![None, None];
        Self { folder, database, cluster: Some(cluster), servers, workspace, numbers: Numbers(seed) }
    }

    fn server(&self) -> &Server {
        &self.cluster.as_ref().unwrap().server
    }

    /// Starts what is down; the first with a point to die at.
    async fn start(&mut self, kill_at: Option<&str>) {
        if let Some(up) = self.servers[0].take() {
            up.kill().await;
        }
        for number in [1, 0] {
            if self.servers[usize::from(number)].is_none() {
                let point = kill_at.filter(|_| number == 0);
                self.servers[usize::from(number)] =
                    Up::start(&self.cluster.as_ref().unwrap().server, &self.database, number, point).await;
            }
        }
    }

    fn addresses(&self) -> Vec<Address> {
        self.servers.iter().flatten().map(Up::address).collect()
    }

    async fn now(&self) -> time::OffsetDateTime {
        let address = self.servers[1].as_ref().unwrap().address();
        let mut clock = ClockServiceClient::new(address.channel.clone());
        let now = clock.get(address.request(ClockServiceGetRequest {})).await.unwrap().into_inner().now_time;
        wire::instant(&now.unwrap()).unwrap()
    }

    /// New records of this moment's day.
    async fn records(&mut self) -> Vec<UsageRecord> {
        let now = self.now().await;
        let record = |number: usize| UsageRecord {
            workspace_id: self.workspace.clone(),
            event_id: Uuid::from_u128(chassis::id::uuid_at(now).as_u128()).to_string(),
            event_time: Some(wire::timestamp(
                now - Duration::milliseconds(i64::try_from(number % 500).unwrap()),
            )),
            meter: "synthetic".to_owned(),
            dimension: String::new(),
            quantity: (1 + number % 3).to_string(),
            count_from_time: None,
        };
        (0..RECORDS_PER_ROUND).map(record).collect()
    }

    /// One round of sending, with a death in it. Answers what was acked in the end.
    async fn round(&mut self, kill: Kill) -> Vec<UsageRecord> {
        let point = if let Kill::At(point) = kill { Some(point) } else { None };
        self.start(point).await;
        let records = self.records().await;
        let mut senders = tokio::task::JoinSet::new();
        for part in records.chunks(RECORDS_PER_ROUND / 4) {
            let seed = u64::try_from(self.numbers.below(1 << 30)).unwrap();
            senders.spawn(send_all(part.to_vec(), self.addresses(), seed));
        }
        let moment = Wait::from_millis(u64::try_from(5 + self.numbers.below(120)).unwrap());
        match kill {
            Kill::Client => {
                tokio::time::sleep(moment).await;
                senders.abort_all();
                while senders.join_next().await.is_some() {}
                send_all(records.clone(), self.addresses(), 7).await;
            }
            Kill::Postgres => {
                tokio::time::sleep(moment).await;
                self.kill_postgres().await;
                senders.abort_all();
                while senders.join_next().await.is_some() {}
                self.start(None).await;
                send_all(records.clone(), self.addresses(), 7).await;
            }
            Kill::At(point) => {
                while let Some(sent) = senders.join_next().await {
                    sent.unwrap();
                }
                self.is_dead(point).await;
            }
        }
        records
    }

    async fn is_dead(&mut self, point: &str) {
        if let Some(mut up) = self.servers[0].take() {
            let ended = tokio::time::timeout(Wait::from_secs(60), up.child.wait()).await;
            ended.unwrap_or_else(|_| panic!("{point} was never met")).unwrap();
        }
    }

    /// The postmaster dies without a word; a new one recovers from the log. Every session is lost, and the servers go down.
    async fn kill_postgres(&mut self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let killed = Command::new("kill").args(["-9", pid.lines().next().unwrap()]).status().await.unwrap();
        assert!(killed.success());
        for up in &mut self.servers {
            if let Some(up) = up.take() {
                up.kill().await;
            }
        }
        drop(self.cluster.take());
        let mut again = Cluster::open(&self.folder, Durability::Kept, &mut |_| {}).await;
        for _ in 0..100 {
            if again.is_ok() {
                break;
            }
            tokio::time::sleep(Wait::from_millis(100)).await;
            again = Cluster::open(&self.folder, Durability::Kept, &mut |_| {}).await;
        }
        self.cluster = Some(again.unwrap());
    }

    /// Ends the day and seals it, dying inside the seal first; the sealed day is what was acked.
    async fn seal(&mut self, day: UsageDate, point: &str, acked: u64) {
        self.start(Some(point)).await;
        let end = wire::timestamp(day.end() + Duration::MINUTE);
        for address in self.addresses() {
            let mut clock = ClockServiceClient::new(address.channel.clone());
            let advance = ClockServiceAdvanceRequest { now_time: Some(end) };
            // The second finds the clock of the database where the first has put it; if it has followed already, the token is of before.
            if let Err(status) = clock.advance(address.request(advance)).await {
                let followed = [Code::FailedPrecondition, Code::Unauthenticated];
                assert!(followed.contains(&status.code()), "{status:?}");
            }
        }
        let seal = UsageServiceSealDayRequest { usage_date: Some(wire::date(day)) };
        let dying = self.servers[0].as_ref().unwrap().address();
        let mut usage = UsageServiceClient::new(dying.channel.clone());
        usage.seal_day(dying.request(seal)).await.expect_err(point);
        self.is_dead(point).await;
        let up = self.servers[1].take();
        up.unwrap().kill().await;
        self.start(None).await;
        let address = self.servers[1].as_ref().unwrap().address();
        let mut usage = UsageServiceClient::new(address.channel.clone());
        usage.seal_day(address.request(seal)).await.unwrap();
        let query = UsageServiceQueryRequest {
            workspace_id: self.workspace.clone(),
            usage_date: Some(wire::date(day)),
            item: "synthetic".to_owned(),
            ..Default::default()
        };
        let used = usage.query(address.request(query)).await.unwrap().into_inner();
        assert!(used.sealed);
        let sealed: u64 = used.lines.iter().map(|line| line.quantity.parse::<u64>().unwrap()).sum();
        assert_eq!(sealed, acked, "{day} after {point}");
    }

    /// Every acked record is there, once.
    async fn check(&self, acked: &[UsageRecord]) {
        let mut admin = self.server().connect(&self.database).await.unwrap();
        let count: i64 = sqlx::query_scalar("select count(*) from workspace.usage_records r join workspace.meters m using (meter_id) where m.meter = 'synthetic' and event_id = any($1)")
            .bind(acked.iter().map(|record| record.event_id.parse::<Uuid>().unwrap()).collect::<Vec<_>>())
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert_eq!(usize::try_from(count).unwrap(), acked.len());
        admin.close().await.unwrap();
    }

    async fn end(mut self) {
        for up in self.servers.drain(..).flatten() {
            let home = up.home.clone();
            up.kill().await;
            std::fs::remove_dir_all(home).unwrap();
        }
        drop(self.cluster.take());
        remove(&self.folder).await;
    }
}

/// The keeper of the cluster ends a moment after its pipe is closed.
async fn remove(folder: &Path) {
    for _ in 0..100 {
        if Cluster::remove(folder).is_ok() {
            return;
        }
        tokio::time::sleep(Wait::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_clients_and_databases_lose_and_double_nothing() {
    let kills = std::env::var("TALLYSTICK_KILLS").ok().map_or(20, |text| text.parse().unwrap());
    let seed = std::env::var("TALLYSTICK_SEED").ok().map_or(1, |text| text.parse().unwrap());
    let mut storm = Storm::begin(seed).await;
    let mut killed = 0;
    for number in 0.. {
        storm.start(None).await;
        let day = UsageDate::of(storm.now().await);
        let mut acked = Vec::new();
        for kill in ROUNDS {
            acked.extend(storm.round(kill).await);
            killed += 1;
            println!("{killed} of {kills}: {kill:?} on {day}, {} acked", acked.len());
        }
        storm.check(&acked).await;
        let sum = acked.iter().map(|record| record.quantity.parse::<u64>().unwrap()).sum();
        let point = SEALS[number % SEALS.len()];
        storm.seal(day, point, sum).await;
        killed += 1;
        println!("{killed} of {kills}: {point} on {day}, sealed to {sum}");
        if killed >= kills {
            break;
        }
    }
    storm.end().await;
}
