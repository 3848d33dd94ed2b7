//! The same records, in any order, divided and repeated in any way, over streams and calls, to two server processes: the day seals to the same digest.
//!
//! `TALLYSTICK_RECORDS=1000000 cargo test -p local -- arrangements` sends so many; 4,000 unless told.

use chassis::cluster::Server;
use chassis::scratch::test_server;
use chassis::wire;
use sqlx::{AssertSqlSafe, Connection as _};
use tallystick_proto::ops::v1::clock_service_client::ClockServiceClient;
use tallystick_proto::ops::v1::{ClockServiceAdvanceRequest, ClockServiceGetRequest};
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{UsageRecord, UsageServiceSealDayRequest, WorkspaceServiceListRequest};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::serving::Serving;
use crate::storm::{Numbers, Up, send_all};

const ARRANGEMENTS: u64 = 3;
const SENDERS: usize = 4;
const PORT_BASE: u16 = 22_860;
const METERS: [(&str, &str); 6] = [
    ("pv", ""),
    ("log", "audit"),
    ("log_bytes", ""),
    ("network_host", ""),
    ("trace_span", ""),
    ("trigger_smart", ""),
];

/// The same for every arrangement: ids of both kinds, meters that sum, split, weigh and take the maximum.
fn records(workspace: &str, now: OffsetDateTime, count: usize) -> Vec<UsageRecord> {
    let mut numbers = Numbers(11);
    let day = chassis::civil::UsageDate::of(now);
    let span = usize::try_from((now - day.start()).whole_seconds()).unwrap().max(1);
    let record = |index: usize| {
        let (meter, dimension) = METERS[numbers.below(METERS.len())];
        let time = day.start() + Duration::seconds(i64::try_from(numbers.below(span)).unwrap());
        UsageRecord {
            workspace_id: workspace.to_owned(),
            event_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, &index.to_be_bytes()).to_string(),
            event_time: Some(wire::timestamp(time)),
            meter: meter.to_owned(),
            dimension: dimension.to_owned(),
            quantity: numbers.below(50_000).to_string(),
            count_from_time: None,
        }
    };
    (0..count).map(record).collect()
}

async fn admin(server: &Server, sql: String) {
    let mut admin = server.connect("postgres").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
}

/// What the day of the records seals to on this database, sent in the arrangement of this seed.
async fn sealed(
    server: &Server,
    database: &str,
    seed: u64,
    now: OffsetDateTime,
    records: &[UsageRecord],
) -> String {
    let mut ups = Vec::new();
    for number in 0..2 {
        ups.push(Up::start(server, database, 3 + number, None).await.unwrap());
    }
    let mut numbers = Numbers(seed);
    let mut parts: Vec<Vec<UsageRecord>> = vec![Vec::new(); SENDERS];
    for record in records {
        parts[numbers.below(SENDERS)].push(record.clone());
        if numbers.below(10) == 0 {
            parts[numbers.below(SENDERS)].push(record.clone());
        }
    }
    let mut senders = tokio::task::JoinSet::new();
    for part in parts {
        let seed = u64::try_from(numbers.below(1 << 30)).unwrap();
        senders.spawn(send_all(part, ups.iter().map(Up::address).collect(), seed));
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }
    let day = chassis::civil::UsageDate::of(now);
    let address = ups[0].address();
    let mut clock = ClockServiceClient::new(address.channel.clone());
    let end = Some(wire::timestamp(day.end() + Duration::MINUTE));
    clock.advance(address.request(ClockServiceAdvanceRequest { now_time: end })).await.unwrap();
    let seal = UsageServiceSealDayRequest { usage_date: Some(wire::date(day)) };
    let mut usage = UsageServiceClient::new(address.channel.clone());
    let manifest = usage.seal_day(address.request(seal)).await.unwrap().into_inner().manifest.unwrap();
    assert!(manifest.workspace_count > 0);
    for up in ups {
        let home = up.home.clone();
        up.kill().await;
        std::fs::remove_dir_all(home).unwrap();
    }
    manifest.digest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_records_in_any_arrangement_seal_to_the_same_digest() {
    let count = std::env::var("TALLYSTICK_RECORDS").ok().map_or(4_000, |text| text.parse().unwrap());
    let server = test_server().await.unwrap();
    let begin = format!("arranged_{}", std::process::id());
    let mut first = Serving::start(server, &begin, PORT_BASE, None).await;
    let list = first.request(WorkspaceServiceListRequest::default());
    let mut workspaces = WorkspaceServiceClient::new(first.channel(1));
    let workspace = workspaces.list(list).await.unwrap().into_inner().workspaces.remove(0).workspace_id;
    let mut clock = ClockServiceClient::new(first.channel(1));
    let now = clock.get(first.request(ClockServiceGetRequest {})).await.unwrap().into_inner().now_time;
    let now = wire::instant(&now.unwrap()).unwrap();
    // Late in the day, so that its hours are all there.
    let now = chassis::civil::UsageDate::of(now).end() - Duration::minutes(30);
    let late = ClockServiceAdvanceRequest { now_time: Some(wire::timestamp(now)) };
    clock.advance(first.request(late)).await.unwrap();
    first.child.kill().await.unwrap();
    std::fs::remove_dir_all(&first.home).unwrap();
    let records = records(&workspace, now, count);
    let mut digests = Vec::new();
    for seed in 0..ARRANGEMENTS {
        let database = format!("{begin}_{seed}");
        // The sessions of the killed process end a moment after it.
        admin(
            server,
            format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{begin}'"),
        )
        .await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        admin(server, format!("create database {database} template {begin}")).await;
        digests.push(sealed(server, &database, seed + 1, now, &records).await);
        chassis::scratch::drop_database(server, &database).await.unwrap();
        println!("arrangement {seed} of {count} records: {}", digests[digests.len() - 1]);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    // Another set seals to another digest.
    admin(server, format!("create database {begin}_x template {begin}")).await;
    let other = sealed(server, &format!("{begin}_x"), 1, now, &records[1..]).await;
    chassis::scratch::drop_database(server, &format!("{begin}_x")).await.unwrap();
    chassis::scratch::drop_database(server, &begin).await.unwrap();
    assert_ne!(other, digests[0], "one record less");
}
