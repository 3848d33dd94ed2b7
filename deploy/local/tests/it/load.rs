//! A file of usage records, loaded into services that run.

use std::path::Path;
use std::process::Output;

use chassis::civil::UsageDate;
use chassis::cluster::Server;
use chassis::scratch::test_server;
use sqlx::Connection as _;
use tallystick_proto::ops::v1::ClockServiceGetRequest;
use tallystick_proto::ops::v1::clock_service_client::ClockServiceClient;
use tallystick_proto::workspace::v1::WorkspaceServiceListRequest;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use time::Duration;
use time::format_description::well_known::Rfc3339;
use tokio::process::Command;

use crate::serving::Serving;

const PORT_BASE: u16 = 22_540;
const HEADER: &str = "workspace_id,event_id,event_time,meter,dimension,quantity";

fn command(serving: &Serving, file: &Path) -> Command {
    let address = format!("http://127.0.0.1:{}", serving.port_base + 1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.arg("ingest").arg(file).args(["--address", &address, "--home"]).arg(&serving.home);
    command
}

async fn ingest(serving: &Serving, file: &Path) -> (Output, String) {
    let output = command(serving, file).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

async fn counted(server: &Server, database: &str) -> i64 {
    let mut admin = server.connect(database).await.unwrap();
    let sql = "select count(*) from workspace.usage_records";
    let count = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    count
}

/// The demonstration's workspace, a time of its present day, and one of a day that is sealed.
async fn facts(serving: &Serving) -> (String, String, String) {
    let mut workspaces = WorkspaceServiceClient::new(serving.channel(1));
    let list = serving.request(WorkspaceServiceListRequest::default());
    let workspaces = workspaces.list(list).await.unwrap().into_inner().workspaces;
    let mut clock = ClockServiceClient::new(serving.channel(1));
    let now = clock.get(serving.request(ClockServiceGetRequest {})).await.unwrap().into_inner().now_time;
    let now = chassis::wire::instant(&now.unwrap()).unwrap();
    let today = UsageDate::of(now).start();
    let text = |time: time::OffsetDateTime| time.format(&Rfc3339).unwrap();
    (workspaces[0].workspace_id.clone(), text(today + Duration::MINUTE), text(today - Duration::HOUR))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_counted_once_however_often_it_is_loaded() {
    let server = test_server().await.unwrap();
    let database = format!("loaded_{}", std::process::id());
    let mut serving = Serving::start(server, &database, PORT_BASE, None).await;
    let (workspace, now, yesterday) = facts(&serving).await;
    let before = counted(server, &database).await;
    let csv = serving.home.join("usage.csv");
    let good: Vec<_> = (0..2_500).map(|n| format!("{workspace},reading {n},{now},pv,,{n}")).collect();
    let rest = [
        format!("{workspace},late,{yesterday},pv,,1"),
        good[7].clone(),
        format!("{workspace},reading 8,{now},pv,,9"),
        format!("{workspace},strange,{now},no_such_meter,,1"),
        format!("{workspace},,{now},pv,,1"),
        "rubbish".to_owned(),
    ];
    std::fs::write(&csv, format!("{HEADER}\n{}\n{}\n", good.join("\n"), rest.join("\n"))).unwrap();

    let (first, said) = ingest(&serving, &csv).await;
    let numbers = "read 2506, accepted 2501, duplicates 1, late 1, refused 4";
    assert!(!first.status.success() && said.contains(numbers), "{said}");
    for problem in [
        "line 2504: EVENT_ID_REUSED: ",
        "line 2505: UNKNOWN_METER: ",
        "line 2506: RECORD_MALFORMED: event_id must not be empty",
        "line 2507: RECORD_MALFORMED: has 1 columns and not 6",
        "error: 4 lines were refused",
    ] {
        assert!(said.contains(problem), "{problem} in {said}");
    }
    assert_eq!(counted(server, &database).await, before + 2_501);
    let (second, said) = ingest(&serving, &csv).await;
    let numbers = "read 2506, accepted 0, duplicates 2502, late 0, refused 4";
    assert!(!second.status.success() && said.contains(numbers), "{said}");

    // What was refused is mended by hand and loaded by itself: the ids are those of the file that it came from.
    let refused = serving.home.join("usage.refused.csv");
    let mended = std::fs::read_to_string(&refused).unwrap().replace("no_such_meter", "pv");
    let wanted = |line: &&str| line.starts_with("workspace_id") || line.contains("strange");
    std::fs::write(&refused, mended.lines().filter(wanted).collect::<Vec<_>>().join("\n")).unwrap();
    let (third, said) = ingest(&serving, &refused).await;
    assert!(
        third.status.success() && said.contains("read 1, accepted 1, duplicates 0, late 0, refused 0"),
        "{said}"
    );
    std::fs::write(&csv, format!("{HEADER}\n{workspace},strange,{now},pv,,1\n")).unwrap();
    let (_, said) = ingest(&serving, &csv).await;
    assert!(said.contains("read 1, accepted 0, duplicates 1, late 0, refused 0"), "{said}");
    assert_eq!(counted(server, &database).await, before + 2_502);

    events(&serving, &workspace, &now).await;
    assert_eq!(counted(server, &database).await, before + 2_504);
    serving.child.kill().await.unwrap();
    std::fs::remove_dir_all(&serving.home).unwrap();
    chassis::scratch::drop_database(server, &database).await.unwrap();
}

async fn events(serving: &Serving, workspace: &str, now: &str) {
    let event = |id: &str, source: &str, quantity: &str| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"{source}\",\"type\":\"log\",\"subject\":\"{workspace}\",\
             \"time\":\"{now}\",\"data\":{{\"quantity\":{quantity},\"dimension\":\"audit\"}}}}"
        )
    };
    let good = [event("1", "urn:a", "5"), event("1", "urn:b", "\"5\""), event("1", "urn:a", "5")];
    let jsonl = serving.home.join("usage.jsonl");
    std::fs::write(&jsonl, good.join("\n")).unwrap();
    let (first, said) = ingest(serving, &jsonl).await;
    assert!(
        first.status.success() && said.contains("read 3, accepted 2, duplicates 1, late 0, refused 0"),
        "{said}"
    );
    let bad = event("2", "urn:a", "1.5");
    std::fs::write(&jsonl, format!("{}\n{bad}\n", good.join("\n"))).unwrap();
    let (second, said) = ingest(serving, &jsonl).await;
    assert!(
        !second.status.success() && said.contains("read 4, accepted 0, duplicates 3, late 0, refused 1"),
        "{said}"
    );
    let refused = std::fs::read_to_string(serving.home.join("usage.refused.jsonl")).unwrap();
    assert!(
        refused.contains("\"refusalreason\":\"RECORD_MALFORMED\"") && refused.contains("urn:a"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_when_the_services_are_killed_and_started_again() {
    const LINES: i64 = 40_000;
    let server = test_server().await.unwrap();
    let database = format!("reloaded_{}", std::process::id());
    let mut serving = Serving::start(server, &database, PORT_BASE + 20, None).await;
    let (workspace, now, _) = facts(&serving).await;
    let before = counted(server, &database).await;
    let csv = serving.home.join("usage.csv");
    let lines: Vec<_> = (0..LINES).map(|n| format!("{workspace},{n},{now},pv,,{n}")).collect();
    std::fs::write(&csv, format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
    let mut loading = command(&serving, &csv);
    loading.stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut loading = loading.spawn().unwrap();
    while counted(server, &database).await == before {
        assert!(loading.try_wait().unwrap().is_none(), "it is under way");
    }
    serving.child.kill().await.unwrap();
    let counted_then = counted(server, &database).await;
    assert!(counted_then < before + LINES, "killed in the middle: {counted_then}");
    let mut serving = Serving::start(server, &database, PORT_BASE + 20, None).await;
    let output = loading.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains(&format!("read {LINES}, accepted ")), "{said}");
    assert!(said.contains("refused 0"), "{said}");
    assert_eq!(counted(server, &database).await, before + LINES);
    serving.child.kill().await.unwrap();
    std::fs::remove_dir_all(&serving.home).unwrap();
    chassis::scratch::drop_database(server, &database).await.unwrap();
}
