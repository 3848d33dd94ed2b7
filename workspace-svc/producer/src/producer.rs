//! The producer: takes records, and has them delivered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::config::{InvalidConfig, ProducerConfig};
use crate::delivery::{InvalidAddress, Link, deliver, endpoint};
use crate::journal::{FolderError, Index, Journal, Size};
use crate::pump::{Ledger, Pump};
use crate::token::TokenSource;
use crate::usage::{EventId, Record, Usage};
use crate::writer::{self, RecordError, Waiting};

/// Calls of `record` that wait for the disk; more wait for their turn.
const WAITING_MAX: usize = 4_096;
/// Batches that wait for a place in the window, and receipts that wait to be settled.
const HANDED_ON_MAX: usize = 1;

/// Why a producer cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration is outside of its limits.
    #[error("the configuration is invalid")]
    Config(#[from] InvalidConfig),
    /// The address cannot be used.
    #[error("the address is invalid")]
    Address(#[from] InvalidAddress),
    /// Another producer has the folder open: one folder is one process's.
    #[error("the folder is in use by another producer")]
    InUse,
    /// The disk refuses.
    #[error("the journal cannot be opened")]
    Disk(#[source] std::io::Error),
}

impl From<FolderError> for OpenError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::InUse => Self::InUse,
            FolderError::Disk(error) => Self::Disk(error),
        }
    }
}

/// The producer was closed before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the producer is closed")]
pub struct Stopped;

/// Not everything was delivered by the deadline. It is in the journal, and goes on when that is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting_count} records are not delivered yet")]
pub struct CloseError {
    /// How many records wait.
    pub waiting_count: u64,
}

/// How a producer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Records in the journal that are neither counted nor refused.
    pub waiting_count: u64,
    /// Bytes of the journal on disk, refused records included.
    pub journal_bytes: u64,
    /// What keeps records from being delivered at present.
    pub trouble: Option<String>,
}

/// Takes records into a journal and delivers them in the background. To share it between tasks, put it into an `Arc`. One that is
/// dropped stops at once; the journal keeps what was not delivered.
pub struct Producer {
    writer: Mutex<Option<mpsc::Sender<Waiting>>>,
    confirmed: watch::Receiver<u64>,
    wanted: watch::Sender<u64>,
    done: watch::Receiver<u64>,
    trouble: watch::Receiver<Option<String>>,
    index: Arc<Index>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Producer {
    /// Opens the journal, goes on with what an earlier process has left in it, and connects as soon as there is something to send.
    pub async fn open(config: ProducerConfig, token: impl TokenSource) -> Result<Self, OpenError> {
        config.check()?;
        let endpoint = endpoint(&config.address)?;
        let folder = config.folder.clone();
        let size =
            Size { segment_bytes_max: config.segment_bytes_max, journal_bytes_max: config.journal_bytes_max };
        let opening = tokio::task::spawn_blocking(move || Journal::open(&folder, size)).await;
        let journal = opening.map_err(|error| OpenError::Disk(std::io::Error::other(error)))??;
        let (trouble_told, trouble) = watch::channel(None);
        let link = Link {
            endpoint,
            token: Arc::new(token),
            window: config.window,
            ack_wait_max: config.ack_wait_max,
            backoff: config.backoff_min..=config.backoff_max,
            give_up_after: None,
            trouble: trouble_told,
        };
        Self::start(&config, journal, link, trouble).map_err(OpenError::Disk)
    }

    fn start(
        config: &ProducerConfig,
        journal: Journal,
        link: Link,
        trouble: watch::Receiver<Option<String>>,
    ) -> std::io::Result<Self> {
        let Journal { folder, index, appender, reader, settled } = journal;
        let (confirmed_told, confirmed) = watch::channel(appender.last());
        let (wanted, wanted_heard) = watch::channel(0);
        let (done_told, done) = watch::channel(settled.last());
        let (writer, waiting) = mpsc::channel(WAITING_MAX);
        let (batches, batches_heard) = mpsc::channel(HANDED_ON_MAX);
        let (receipts, receipts_heard) = mpsc::channel(HANDED_ON_MAX);
        let pump = Pump::new(reader, config, confirmed.clone(), wanted_heard);
        let ledger = Ledger {
            folder,
            index: Arc::clone(&index),
            settled,
            handler: config.on_refused.clone(),
            backoff: Backoff::new(config.backoff_min..=config.backoff_max),
            done: done_told,
        };
        writer::start(appender, waiting, confirmed_told)?;
        let delivery = async move {
            if let Err(error) = deliver(link, batches_heard, receipts).await {
                tracing::error!(%error, "delivery has ended");
            }
        };
        // The last one is done when all are: each hands its end on to the next.
        let tasks = vec![
            tokio::spawn(pump.run(batches)),
            tokio::spawn(delivery),
            tokio::spawn(ledger.run(receipts_heard)),
        ];
        let (writer, tasks) = (Mutex::new(Some(writer)), Mutex::new(tasks));
        Ok(Self { writer, confirmed, wanted, done, trouble, index, tasks })
    }

    /// Stores usage under a new id, and answers the id. It returns when the record is on disk: from then on it is delivered, whatever
    /// happens. While the disk is slow, calls wait; a full journal refuses. Who gives the call up, or dies in it, does not know whether
    /// the record was stored: where that matters, use `record_as` with an id that follows from what is reported.
    pub async fn record(&self, usage: Usage) -> Result<EventId, RecordError> {
        let event_id = EventId::new();
        self.record_as(event_id, usage).await?;
        Ok(event_id)
    }

    /// Stores usage under an id that the caller has kept, or that follows from a foreign one: recorded again, it is counted once.
    pub async fn record_as(&self, event_id: EventId, usage: Usage) -> Result<(), RecordError> {
        let record = Record::new(event_id, usage)?;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let writer = writer.ok_or(RecordError::Closed)?;
        let (answer, told) = oneshot::channel();
        writer.send(Waiting { record, answer }).await.map_err(|_| RecordError::Closed)?;
        told.await.map_err(|_| RecordError::Closed)?
    }

    /// Waits until everything that was recorded before is counted or refused. It waits as long as the service is away: put a timeout
    /// around it where that is too long.
    pub async fn flush(&self) -> Result<(), Stopped> {
        let last = *self.confirmed.borrow();
        self.wanted.send_if_modified(|wanted| {
            let is_further = last > *wanted;
            *wanted = last.max(*wanted);
            is_further
        });
        self.done.clone().wait_for(|done| *done >= last).await.map(drop).map_err(|_| Stopped)
    }

    /// Takes no more records, delivers what is there, and stops by the deadline. Called again, it does nothing.
    pub async fn close(&self, deadline: Duration) -> Result<(), CloseError> {
        // The end of the writer ends the pump, and so on to the last.
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            for task in &mut tasks {
                // A task that panicked is over as well; what it left shows below.
                drop(task.await);
            }
        };
        if tokio::time::timeout(deadline, all).await.is_err() {
            for task in tasks {
                task.abort();
                drop(task.await);
            }
        }
        match self.standing().waiting_count {
            0 => Ok(()),
            waiting_count => Err(CloseError { waiting_count }),
        }
    }

    /// How it is doing, for a health check or a metric.
    pub fn standing(&self) -> Standing {
        Standing {
            waiting_count: self.confirmed.borrow().saturating_sub(*self.done.borrow()),
            journal_bytes: self.index.bytes(),
            trouble: self.trouble.borrow().clone(),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}
