//! Takes records into the journal. Callers that wait at the same time share one flush of the disk.

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::limits;
use crate::journal::{AppendError, Appender};
use crate::usage::{InvalidUsage, Record};

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It can never be counted.
    #[error(transparent)]
    Invalid(#[from] InvalidUsage),
    /// The journal is as large as it may become. Once the service has counted what is in it, or refused records were taken away,
    /// there is room again: hold back, or drop what matters least.
    #[error("the journal is full")]
    JournalFull,
    /// The disk did not take it; nothing of it is left. It may be tried again.
    #[error("the journal could not be written: {0}")]
    NotWritten(std::io::ErrorKind),
    /// The disk did not say whether it has it. The journal takes nothing more until it is opened again. Then record it again, under
    /// the same id.
    #[error("the journal could not be flushed and has to be opened again: {0}")]
    Uncertain(std::io::ErrorKind),
    /// The producer was closed.
    #[error("the producer is closed")]
    Closed,
}

impl From<AppendError> for RecordError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full => Self::JournalFull,
            AppendError::NotWritten(kind) => Self::NotWritten(kind),
            AppendError::Uncertain(kind) => Self::Uncertain(kind),
        }
    }
}

/// A record that its caller waits for.
pub struct Waiting {
    pub record: Record,
    pub answer: oneshot::Sender<Result<(), RecordError>>,
}

/// Works until nobody can record any more. Runs on a thread of its own, because it waits for the disk.
pub fn write(mut appender: Appender, mut waiting: mpsc::Receiver<Waiting>, confirmed: &watch::Sender<u64>) {
    while let Some(first) = waiting.blocking_recv() {
        let (mut records, mut answers) = (vec![first.record], vec![first.answer]);
        while records.len() < limits::GROUP_RECORDS_MAX
            && let Ok(next) = waiting.try_recv()
        {
            records.push(next.record);
            answers.push(next.answer);
        }
        let (mut stored, error) = appender.append(&records);
        confirmed.send_replace(appender.last());
        for answer in answers {
            let told = match error {
                Some(error) if stored == 0 => Err(error.into()),
                _ => Ok(()),
            };
            stored = stored.saturating_sub(1);
            // Whoever does not wait any more is not told; the record is stored all the same.
            drop(answer.send(told));
        }
    }
}

/// Starts the thread.
pub fn start(
    appender: Appender,
    waiting: mpsc::Receiver<Waiting>,
    confirmed: watch::Sender<u64>,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("tallystick-journal".to_owned());
    thread.spawn(move || write(appender, waiting, &confirmed)).map(drop)
}
