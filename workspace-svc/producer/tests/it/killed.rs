//! A process that dies in the middle of its work, with SIGKILL.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tallystick_producer::{FixedToken, Producer, ProducerConfig};

use crate::fake::{Fault, Serving, TOKEN};
use crate::stories::{Scratch, counted_once, usage};

const FOLDER: &str = "TALLYSTICK_PRODUCER_FOLDER";
const ADDRESS: &str = "TALLYSTICK_PRODUCER_ADDRESS";

/// This is what is killed: it records until then, and says each id once that is confirmed. In the test run itself nobody names a folder, and
/// it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_is_killed() {
    let (Ok(folder), Ok(address)) = (std::env::var(FOLDER), std::env::var(ADDRESS)) else { return };
    let mut config = ProducerConfig::new(folder.into(), &address);
    config.segment_bytes_max = 64 * 1024;
    config.batch_records_max = 20;
    config.batch_age_max = std::time::Duration::from_millis(2);
    let producer = Producer::open(config, FixedToken::new(TOKEN.to_owned())).await.unwrap();
    for quantity in 0.. {
        let event_id = producer.record(usage(quantity)).await.unwrap();
        println!("confirmed {event_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_confirmed_is_counted_once() {
    let scratch = Scratch::new("killed");
    let serving = Serving::start().await;
    let breaks = [None, None, Some(Fault::BreakAfter), None, Some(Fault::Unavailable)];
    let mut confirmed = Vec::new();
    for round in 0..5 {
        serving.fake.plan(breaks);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::the_process_that_is_killed", "--nocapture"])
            .env(FOLDER, &scratch.0)
            .env(ADDRESS, serving.uri())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 100 + round * 37;
        let ids = tokio::task::spawn_blocking(move || {
            // The first line has the harness's words before ours.
            let ids = lines
                .map_while(Result::ok)
                .filter_map(|line| line.split_once("confirmed ").map(|(_, event_id)| event_id.to_owned()));
            let ids: Vec<_> = ids.take(wanted).collect();
            child.kill().unwrap();
            child.wait().unwrap();
            ids
        })
        .await
        .unwrap();
        assert_eq!(ids.len(), wanted);
        confirmed.extend(ids);
    }
    let config = ProducerConfig::new(scratch.0.clone(), &serving.uri());
    let producer = Producer::open(config, FixedToken::new(TOKEN.to_owned())).await.unwrap();
    producer.close(crate::stories::PATIENCE).await.unwrap();
    // What the process had stored and not said in time is counted as well; of what it had said nothing is missing.
    let counted = counted_once(&serving);
    let missing: Vec<_> = confirmed.iter().filter(|event_id| !counted.contains(*event_id)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
}
