//! Reports what comes in on the standard input, line by line: `METER QUANTITY`, or `METER QUANTITY ID` where the line has an id that makes
//! it the same when it comes again.
//!
//! ```text
//! cargo run -- up                                         # in one terminal
//! printf 'pv 12\npv 7 reading-1\n' | cargo run -p tallystick-producer --example report_usage -- \
//!     /tmp/usage-journal http://127.0.0.1:50052 .local/operator.token wksp_...
//! ```
//!
//! Stop the services, or this program, in the middle, and start again with the same folder: each line that was confirmed is counted once.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Duration;

use tallystick_producer::{EventId, Producer, ProducerConfig, Refused, TokenFile, Usage, now};

/// What foreign ids are ids of. It must stay the same, or the same line is another record.
const SOURCE: &str = "urn:example:standard-input";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, address, token_file, workspace_id] = arguments.as_slice() else {
        return Err("usage: report_usage FOLDER ADDRESS TOKEN_FILE WORKSPACE_ID".into());
    };
    let mut config = ProducerConfig::new(folder.into(), address);
    // Refused records are in refused.csv as well: this is for those who want to know at once.
    config.on_refused = Some(Arc::new(|refused: &Refused| {
        println!("refused {}: {:?} {}", refused.record.event_id, refused.reason, refused.message);
    }));
    let producer = Producer::open(config, TokenFile::new(token_file.into())).await?;
    println!("{} records of an earlier run wait", producer.standing().waiting_count);

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(meter), Some(quantity)) = (words.next(), words.next()) else { continue };
        let usage = Usage {
            workspace_id: workspace_id.clone(),
            meter: meter.to_owned(),
            dimension: String::new(),
            quantity: quantity.parse()?,
            event_time: now(),
            count_from_time: None,
        };
        // A line with an id is the same record whenever it comes again, as long as its time is the same too: a source that repeats
        // itself has to repeat the time. Here only the id is known, so that its repeat within a day is refused, not counted.
        let event_id = match words.next() {
            Some(id) => EventId::of_foreign(SOURCE, id),
            None => EventId::new(),
        };
        producer.record_as(event_id, usage).await?;
        println!("confirmed {event_id}");
    }

    // What is not delivered by then is delivered by the next run.
    match producer.close(Duration::from_secs(10)).await {
        Ok(()) => println!("everything is counted or refused"),
        Err(left) => println!("{left}; start again with the same folder"),
    }
    Ok(())
}
