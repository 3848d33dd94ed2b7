//! What a person meets at the command line.

use std::process::Output;

use chassis::scratch::test_server;
use tokio::process::Command;

async fn run(arguments: &[&str]) -> Output {
    let server = test_server().await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).args(["--port-base", "0"]).env("DATABASE_URL", server.admin_url("postgres"));
    command.output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_file_is_billed_or_priced_by_its_day() {
    let folder = std::env::temp_dir().join(format!("tallystick-it-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("usage.csv");
    std::fs::write(
        &file,
        "meter,dimension,retention_days,quantity\nlog,,14,3456789\npipeline,,,4000000000\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let now = chassis::clock::Clock::system().now();
    let yesterday = chassis::civil::UsageDate::of(now).plus_days(-1).to_string();
    let database = format!("tallystick_it_{}", std::process::id());

    let billed = run(&["bill", "--usage", file, "--date", &yesterday, "--database", &database]).await;
    assert!(billed.status.success(), "{}", said(&billed));
    assert!(said(&billed).contains("5.58 CNY"), "{}", said(&billed));
    let again = run(&["bill", "--usage", file, "--date", &yesterday, "--database", &database]).await;
    assert!(
        said(&again).contains("not counted twice") && said(&again).contains("5.58 CNY"),
        "{}",
        said(&again)
    );

    let main = format!("{database}_main");
    let priced = run(&["bill", "--usage", file, "--date", "2023-12-01", "--database", &main]).await;
    assert!(
        said(&priced).contains("nothing was stored") && said(&priced).contains("5.18 CNY"),
        "{}",
        said(&priced)
    );
    assert!(said(&priced).contains("not sold on 2023-12-01: pipeline"), "{}", said(&priced));

    let future = run(&["bill", "--usage", file, "--date", "2999-01-01"]).await;
    assert!(!future.status.success() && said(&future).contains("in the future"), "{}", said(&future));
    let no_day = run(&["bill", "--usage", file, "--date", "2026-02-30"]).await;
    assert!(!no_day.status.success() && said(&no_day).contains("2026-02-30"), "{}", said(&no_day));
    std::fs::remove_dir_all(&folder).unwrap();
}
