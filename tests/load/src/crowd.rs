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
/// Streams of clients that never read.
const DEAF: usize = 8;
/// Records per batch of theirs: acks are small, and many fit before flow control holds their sender.
const DEAF_BATCH: usize = 10;
/// Clients that send garbage, one connection after the other.
const GARBLED: usize = 4;
const GARBAGE_PAUSE: Duration = Duration::from_millis(5);
/// What a connection of HTTP/2 begins with; frames that are none come after it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Measures and says it.
pub async fn run(stage: &Stage, time: Duration, idle_streams: usize) -> anyhow::Result<()> {
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
    let idle = with(stage, time, &format!("with {idle_streams} idle streams"), &alone).await?;
    for _ in 0..DEAF {
        let (mut usage, source) = (stage.usage()?, stage.source());
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
    for seed in 0..GARBLED {
        company.spawn(send_garbage(stage.workspace_address()?, seed));
    }
    let all = with(stage, time, "and clients that never read, and garbage", &idle).await?;
    company.abort_all();
    all.show_calls("all of it");
    Ok(())
}

/// The others again, in the company that there is by now.
async fn with(stage: &Stage, time: Duration, name: &str, before: &Figures) -> anyhow::Result<Figures> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let figures = closed_loop(stage, time, BATCH, IN_FLIGHT).await?;
    figures.show(name);
    println!("  p99 is {} of what it was before", figures.p99_ratio(before));
    Ok(figures)
}

async fn send_garbage(address: SocketAddr, seed: usize) {
    let mut garbage: Vec<u8> =
        (0..4_096_usize).map(|n| u8::try_from((n * 131 + seed * 17) % 256).unwrap_or(0)).collect();
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
