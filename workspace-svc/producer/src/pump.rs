//! Makes batches of what is in the journal, and settles those that were answered.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::config::ProducerConfig;
use crate::delivery::{Batch, Receipt, bytes_of};
use crate::journal::{Folder, Index, Reader, Settled};
use crate::refusal::{self, RefusalHandler, Refused};
use crate::usage::Record;

/// A place in the journal and the record there.
pub type Place = (u64, Record);

/// How large a batch becomes, and how old.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    records_max: usize,
    bytes_max: usize,
    age_max: Duration,
}

/// A batch that is being made.
#[derive(Default)]
struct Gathering {
    items: Vec<(Place, tallystick_proto::workspace::v1::UsageRecord)>,
    bytes: usize,
    /// Read, and too large for this batch: the first of the next.
    spare: Option<Place>,
    is_full: bool,
}

impl Gathering {
    /// Reads on until the batch is full or there is nothing more.
    fn fill(&mut self, reader: &mut Reader, bounds: Bounds) -> io::Result<()> {
        loop {
            let next = match self.spare.take() {
                Some(spare) => Some(spare),
                None => reader.next()?,
            };
            let Some((seq, record)) = next else { return Ok(()) };
            let wire = record.to_wire();
            let bytes = self.bytes.saturating_add(bytes_of(&wire));
            if bytes > bounds.bytes_max && !self.items.is_empty() {
                self.spare = Some((seq, record));
                self.is_full = true;
                return Ok(());
            }
            self.bytes = bytes;
            self.items.push(((seq, record), wire));
            if self.items.len() >= bounds.records_max {
                self.is_full = true;
                return Ok(());
            }
        }
    }
}

/// Feeds batches from the journal.
pub struct Pump {
    reader: Option<Reader>,
    bounds: Bounds,
    backoff: Backoff,
    /// Up to where records are confirmed; closed when there will be no more.
    confirmed: watch::Receiver<u64>,
    /// Up to where somebody waits for delivery: these wait for no others.
    wanted: watch::Receiver<u64>,
    spare: Option<Place>,
}

impl Pump {
    /// Makes batches as the configuration says.
    pub fn new(
        reader: Reader,
        config: &ProducerConfig,
        confirmed: watch::Receiver<u64>,
        wanted: watch::Receiver<u64>,
    ) -> Self {
        let bounds = Bounds {
            records_max: config.batch_records_max,
            bytes_max: config.batch_bytes_max,
            age_max: config.batch_age_max,
        };
        let backoff = Backoff::new(config.backoff_min..=config.backoff_max);
        Self { reader: Some(reader), bounds, backoff, confirmed, wanted, spare: None }
    }

    /// Works until nobody can record any more and everything was handed on.
    pub async fn run(mut self, batches: mpsc::Sender<Batch<Place>>) {
        while let Some(batch) = self.gather().await {
            if batches.send(batch).await.is_err() {
                return;
            }
        }
    }

    /// The next batch: full, or as old as it may become, or wanted.
    async fn gather(&mut self) -> Option<Batch<Place>> {
        let mut gathering = Gathering { spare: self.spare.take(), ..Gathering::default() };
        let mut due = None;
        loop {
            // Looked at before reading, so that what comes after is noticed.
            let is_closed = self.confirmed.has_changed().is_err();
            self.confirmed.mark_unchanged();
            let wanted = *self.wanted.borrow_and_update();
            gathering = self.read(gathering).await?;
            let first = gathering.items.first().map(|((seq, _), _)| *seq);
            let is_due = due.is_some_and(|due| Instant::now() >= due);
            match first {
                Some(first) if gathering.is_full || is_closed || is_due || wanted >= first => {
                    self.spare = gathering.spare;
                    return Some(Batch { items: gathering.items });
                }
                None if is_closed => return None,
                _ => {}
            }
            if first.is_some() && due.is_none() {
                due = Some(Instant::now() + self.bounds.age_max);
            }
            let until = due.unwrap_or_else(Instant::now);
            tokio::select! {
                // An error says that it is closed, which the next round sees.
                changed = self.confirmed.changed() => drop(changed),
                Ok(()) = self.wanted.changed() => {}
                () = tokio::time::sleep_until(until), if due.is_some() => {}
            }
        }
    }

    /// Reads where waiting for the disk holds up nobody. A disk that fails is asked again: what it has must not be left behind.
    async fn read(&mut self, mut gathering: Gathering) -> Option<Gathering> {
        loop {
            let (mut reader, bounds) = (self.reader.take()?, self.bounds);
            let reading = tokio::task::spawn_blocking(move || {
                let read = gathering.fill(&mut reader, bounds);
                (reader, gathering, read)
            });
            let (reader, filled, read) = reading.await.ok()?;
            self.reader = Some(reader);
            gathering = filled;
            let Err(error) = read else {
                self.backoff.reset();
                return Some(gathering);
            };
            tracing::error!(%error, "the journal cannot be read");
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
    }
}

/// Settles what was answered.
pub struct Ledger {
    pub folder: Arc<Folder>,
    pub index: Arc<Index>,
    pub settled: Settled,
    pub handler: Option<Arc<dyn RefusalHandler>>,
    pub backoff: Backoff,
    /// Says up to where all is done.
    pub done: watch::Sender<u64>,
}

impl Ledger {
    /// Works until there are no more receipts. On a disk that does not take refused records everything waits: none is lost silently.
    pub async fn run(mut self, mut receipts: mpsc::Receiver<Receipt<Place>>) {
        while let Some(receipt) = receipts.recv().await {
            let Some(last) = receipt.items.last().map(|((seq, _), _)| *seq) else { continue };
            let mut refused = refused(receipt);
            loop {
                let settling = tokio::task::spawn_blocking(move || {
                    let settled = self.settle(last, &refused);
                    (self, refused, settled)
                });
                // It does not panic; should it, then nobody is told that it is done.
                let Ok((ledger, again, settled)) = settling.await else { return };
                (self, refused) = (ledger, again);
                let Err(error) = settled else { break };
                tracing::error!(%error, "refused records cannot be kept");
                tokio::time::sleep(self.backoff.next_wait()).await;
            }
            self.backoff.reset();
        }
    }

    /// Refused records are kept before they are done.
    fn settle(&mut self, last: u64, refused: &[Refused]) -> io::Result<()> {
        if !refused.is_empty() {
            self.index.set_refused_bytes(refusal::keep(&self.folder, refused)?);
            refused.iter().for_each(|refused| self.tell(refused));
        }
        let mut marked = self.settled.advance(last);
        if !refused.is_empty() {
            // They are not to be sent again by themselves.
            marked = marked.and_then(|()| self.settled.sync());
        }
        if let Err(error) = marked.and_then(|()| self.index.remove_done(&self.folder, last)) {
            // After a crash some are sent again, which the service knows; and segments are removed the next time.
            tracing::warn!(%error, "the journal does not remember what is done");
        }
        self.done.send_replace(last);
        Ok(())
    }

    fn tell(&self, refused: &Refused) {
        tracing::warn!(event_id = %refused.record.event_id, reason = ?refused.reason, "usage was refused");
        let Some(handler) = &self.handler else { return };
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| handler.refused(refused)));
        if told.is_err() {
            tracing::error!("the handler of refused records has panicked");
        }
    }
}

fn refused(receipt: Receipt<Place>) -> Vec<Refused> {
    let mut refusals = receipt.refusals;
    refusals.sort_by_key(|refusal| refusal.index);
    let mut refusals = refusals.into_iter().peekable();
    let mut found = Vec::new();
    for (index, ((_, record), _)) in receipt.items.into_iter().enumerate() {
        if let Some(refusal) = refusals.next_if(|refusal| refusal.index == index) {
            found.push(Refused { record, reason: refusal.reason, message: refusal.message });
        }
    }
    found
}
