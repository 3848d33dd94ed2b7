//! Measures the hot paths of usage, and beside each the limit of the machine in the same run: PostgreSQL, the four services and the load on the same
//! cores, every acked record on disk. Absolute figures do not travel; the ratios do.

// It talks on standard output.
#![allow(clippy::print_stdout)]

mod crowd;
mod duplicates;
mod figures;
mod ingest;
mod keys;
mod partitions;
mod raw;
mod read;
mod single;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::crowd::Company;
use crate::stage::Stage;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// How long each part runs.
    #[arg(long, default_value_t = 10, global = true)]
    seconds: u64,
    /// Workspaces that the usage is spread over.
    #[arg(long, default_value_t = 100, global = true)]
    workspaces: usize,
}

#[derive(Subcommand)]
enum What {
    /// Batches of records, closed loop; then, open loop, at 70 % of what that reached.
    Ingest {
        /// Records per batch of the closed loop.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
        /// Batches under way at a time.
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
        /// Records that are stored before anything is measured.
        #[arg(long, default_value_t = 0)]
        preload: u64,
    },
    /// One record per call.
    Single {
        /// Calls under way at a time.
        #[arg(long, default_value_t = 256)]
        in_flight: usize,
    },
    /// What others notice of clients that never read, garbage, and idle streams.
    Crowd {
        /// Streams that lie idle.
        #[arg(long, default_value_t = 2_000)]
        idle_streams: usize,
        /// Clients that send all they can and never read an ack.
        #[arg(long, default_value_t = 1)]
        deaf: usize,
        /// Clients that send garbage.
        #[arg(long, default_value_t = 1)]
        garbled: usize,
    },
    /// Queries of 13 months of history, while ingest runs at half of what it can.
    Read {
        /// Batches under way at a time while that is measured.
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
        /// Queries in a second.
        #[arg(long, default_value_t = 50)]
        queries: u32,
    },
    /// Batches that were all counted before.
    Duplicates {
        /// Batches under way at a time.
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
    },
    /// Keys of what is counted distinct: new ones, then the same again, then the same an hour later.
    Keys {
        /// Keys per batch.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
        /// Batches under way at a time.
        #[arg(long, default_value_t = 8)]
        in_flight: usize,
    },
    /// Records at half of what is possible, while partitions of old days are made and dropped.
    Partitions {
        /// Batches under way at a time while what is possible is measured.
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
    },
}

impl What {
    /// Loops of the services that would be in the way.
    fn workers_paused(&self) -> &'static [&'static str] {
        match self {
            Self::Partitions { .. } => &["keep_partitions"],
            _ => &[],
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let stage = Stage::open(arguments.workspaces, arguments.what.workers_paused()).await?;
    let time = Duration::from_secs(arguments.seconds);
    let done = match arguments.what {
        What::Ingest { batch, in_flight, preload } => {
            ingest::preload(&stage, preload, in_flight).await?;
            ingest::run(&stage, time, batch, in_flight).await
        }
        What::Crowd { idle_streams, deaf, garbled } => {
            crowd::run(&stage, time, Company { idle_streams, deaf, garbled }).await
        }
        What::Read { in_flight, queries } => read::run(&stage, time, in_flight, queries).await,
        What::Single { in_flight } => single::run(&stage, time, in_flight).await,
        What::Duplicates { in_flight } => duplicates::run(&stage, time, in_flight).await,
        What::Keys { batch, in_flight } => keys::run(&stage, time, batch, in_flight).await,
        What::Partitions { in_flight } => partitions::run(&stage, time, in_flight).await,
    };
    stage.close().await?;
    done
}
