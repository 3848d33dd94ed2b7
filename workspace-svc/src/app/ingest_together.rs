//! Puts the batches of all callers that wait into one transaction: while one is being committed the next gathers. The disk is flushed once for all of them,
//! and a caller with a single record waits no longer than one with thousands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chassis::failure::Failure;
use chassis::status::Refusal;
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument as _;

use super::App;
use super::ingest_usage::{Ingested, ingest_usage};
use crate::domain::usage_record::{UsageRecord, UsageRefusal};

/// Transactions under way at a time: enough to keep the database busy while others read and answer.
const WRITERS: usize = 2;
/// Records that are committed together; a batch that has more is committed by itself.
const RECORDS_MAX: usize = 5_000;

type Parsed = Vec<Result<UsageRecord, UsageRefusal>>;
type Answer = Result<Ingested, Failure<Refusal>>;

/// A batch that waits for its turn.
struct Waiting {
    parsed: Parsed,
    answer: oneshot::Sender<Answer>,
}

/// Who waits, and who may write.
pub struct Queue {
    waiting: Mutex<VecDeque<Waiting>>,
    writers: Arc<Semaphore>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Mutex::default(), writers: Arc::new(Semaphore::new(WRITERS)) }
    }
}

impl Queue {
    fn put(&self, waiting: Waiting) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(waiting);
    }

    fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The next that go together, in the order in which they came.
    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, mut count) = (Vec::new(), 0);
        while let Some(next) = queue.pop_front() {
            count += next.parsed.len();
            if count > RECORDS_MAX && !taken.is_empty() {
                queue.push_front(next);
                break;
            }
            taken.push(next);
        }
        taken
    }
}

/// Commits what is admitted of a batch, with whatever waits beside it. What was begun is finished when its caller has gone.
pub async fn ingest_together(app: &App, parsed: Parsed) -> Answer {
    let (answer, answered) = oneshot::channel();
    app.queue.put(Waiting { parsed, answer });
    start_writer(app);
    match answered.await {
        Ok(answer) => answer,
        Err(_) => Err(chassis::bug!("a batch was taken and not answered")),
    }
}

/// Starts a writer, unless as many as may are at work: each goes on until nothing waits.
fn start_writer(app: &App) {
    let Ok(turn) = Arc::clone(&app.queue.writers).try_acquire_owned() else { return };
    let app = app.clone();
    let write = async move {
        loop {
            let taken = app.queue.take();
            if taken.is_empty() {
                break;
            }
            Box::pin(write_together(&app, taken)).await;
        }
        drop(turn);
        // Whoever came after the last look and before the turn was given back found no turn, and counts on this one.
        if !app.queue.is_empty() {
            start_writer(&app);
        }
    };
    tokio::spawn(write.instrument(tracing::info_span!("app.ingest_together")));
}

/// The next that go together. One that fails for a fault of ours fails alone: the others are tried apart.
async fn write_together(app: &App, taken: Vec<Waiting>) {
    let lengths: Vec<usize> = taken.iter().map(|waiting| waiting.parsed.len()).collect();
    let (parts, answers): (Vec<Parsed>, Vec<_>) =
        taken.into_iter().map(|waiting| (waiting.parsed, waiting.answer)).unzip();
    let together: Parsed = parts.into_iter().flatten().collect();
    if answers.len() > 1 {
        match ingest_usage(app, &together).await {
            Ok(ingested) => {
                let parts = ingested.split(&lengths);
                // Whoever has gone is not told; his records are counted all the same.
                answers.into_iter().zip(parts).for_each(|(answer, part)| drop(answer.send(Ok(part))));
                return;
            }
            Err(Failure::Transient(error)) => {
                let told = |answer: oneshot::Sender<Answer>| {
                    let same = anyhow::anyhow!("{error:#}").context(error.to_string());
                    drop(answer.send(Err(Failure::Transient(same))));
                };
                answers.into_iter().for_each(told);
                return;
            }
            Err(failure) => {
                tracing::error!(?failure, "batches that were put together fail; they are tried apart")
            }
        }
    }
    let mut rest = together.into_iter();
    for (answer, length) in answers.into_iter().zip(lengths) {
        let own: Parsed = rest.by_ref().take(length).collect();
        drop(answer.send(ingest_usage(app, &own).await));
    }
}
