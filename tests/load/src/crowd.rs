//! Bad company: clients that never read their acks, clients that send garbage, and thousands of streams that lie idle. What the others notice of it.

use std::net::SocketAddr;
use std::time::Duration;

use tallystick_proto::workspace::v1::UsageServiceIngestRequest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::ingest::closed_loop;
use crate::stage::Stage;

/// Records per batch of the others, and batches that they have under way.
const BATCH: usize = 100;
const IN_FLIGHT: usize = 4;
/// Records per batch of theirs: acks are small, and many fit before flow control holds their sender.
const DEAF_BATCH: usize = 10;
/// Between two connections of a client that sends garbage.
const GARBAGE_PAUSE: Duration = Duration::from_millis(5);
/// What a connection of HTTP/2 begins with; frames that are none come after it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who else is there.
#[derive(Debug, Clone, Copy)]
pub struct Company {
    /// Streams that lie idle.
    pub idle_streams: usize,
    /// Clients that send all they can and never read an ack, each on a connection of its own, all with one token that is not the others'.
    pub deaf: usize,
    /// Clients that send garbage, one connection after the other.
    pub garbled: usize,
}

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, company_of: Company) -> anyhow::Result<()> {
    let Company { idle_streams, deaf, garbled } = company_of;
    closed_loop(stage, Duration::from_secs(2), BATCH, IN_FLIGHT).await?;
    let alone = closed_loop(stage, time, BATCH, IN_FLIGHT).await?;
    alone.show(&format!("alone, {IN_FLIGHT} batches of {BATCH} under way"));

    let mut company = JoinSet::new();
    for _ in 0..idle_streams {
        let mut usage = stage.usage()?;
        company.spawn(async move {
            let nothing = futures_util::stream::pending::<UsageServiceIngestRequest>();
            let acks = usage.ingest(nothing).await;
            // The stream is open as long as this task lives.
            std::future::pending::<()>().await;
            drop(acks);
        });
    }
    with(stage, time, &format!("with {idle_streams} idle streams"), &alone).await?;
    for seed in 0..garbled {
        company.spawn(send_garbage(stage.workspace_address()?, seed));
    }
    with(stage, time, &format!("and {garbled} that send garbage"), &alone).await?;
    for _ in 0..deaf {
        let (mut usage, source) = (stage.stranger()?, stage.source());
        let batches = futures_util::stream::unfold((source, 0), |(mut source, batch_seq)| async move {
            let records = source.batch(DEAF_BATCH);
            Some((UsageServiceIngestRequest { batch_seq, records }, (source, batch_seq + 1)))
        });
        company.spawn(async move {
            let acks = usage.ingest(batches).await;
            std::future::pending::<()>().await;
            drop(acks);
        });
    }
    with(stage, time, &format!("and {deaf} that never read"), &alone).await?;
    company.abort_all();
    Ok(())
}

/// The others again, in the company that there is by now, beside what they had alone.
async fn with(stage: &Stage, time: Duration, name: &str, before: &Figures) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let figures = closed_loop(stage, time, BATCH, IN_FLIGHT).await?;
    figures.show(name);
    println!("  p99 is {} of what it is alone", figures.p99_ratio(before));
    Ok(())
}

async fn send_garbage(address: SocketAddr, seed: usize) {
    let mut garbage: Vec<u8> = (0..=u8::MAX).rev().cycle().skip(seed * 17).step_by(131).take(4_096).collect();
    loop {
        // Whatever becomes of it: that is the point.
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(PREFACE).await;
            let _ = stream.write_all(&garbage).await;
        }
        garbage.rotate_left(7);
        tokio::time::sleep(GARBAGE_PAUSE).await;
    }
}
