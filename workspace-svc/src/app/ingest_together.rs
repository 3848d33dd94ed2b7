//! Puts the batches of all callers that wait into one transaction: while one is being committed the next gathers. The disk is flushed once for all of them,
//! and a caller with a single record waits no longer than one with thousands.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chassis::failure::Failure;
use sqlx::{Postgres, pool::PoolConnection};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::App;
use super::ingest_usage::{IngestRejection, Ingested, ingest_usage};
use crate::domain::usage_record::{UsageRecord, UsageRefusal};

/// Transactions under way at a time: enough to keep the database busy while others read and answer.
const WRITERS: usize = 2;
/// Records that wait before another writer begins beside the first: until then they go together when the first is done. A transaction takes as much of a
/// core as half as many records do, and whoever reads meanwhile waits for that core.
const ANOTHER_WRITER_FROM: usize = 1_000;
/// A writer does not wait for more when so many records wait.
const GATHER_RECORDS: usize = 64;
/// And otherwise it lets the others have so many turns, as long as each brings something.
const GATHER_TURNS: usize = 16;
/// A writer that finds nothing waits so long for more, with its connection: the same few processes of the database write then, which have mapped its memory.
/// A connection that idled no longer is used without asking it first.
const LINGER: Duration = Duration::from_secs(1);
/// And no writer has the same connection longer: the pool replaces those that are old.
const KEEP: Duration = Duration::from_secs(60);
/// In a pool with fewer connections a writer gives its own back at once: others would wait for it.
const LINGER_FROM_CONNECTIONS: u32 = 6;
/// A transaction that takes so long asks for another writer, however little waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// Records that are committed together; a batch that has more is committed by itself.
const RECORDS_MAX: usize = 5_000;
/// Records of one caller that may wait; more are refused.
const LINE_RECORDS_MAX: usize = 200_000;

type Parsed = Vec<Result<UsageRecord, UsageRefusal>>;
type Answer = Result<Ingested, Failure<IngestRejection>>;

/// A batch that waits for its turn.
struct Waiting {
    parsed: Parsed,
    answer: oneshot::Sender<Answer>,
}

/// Who waits, and who writes.
#[derive(Default)]
pub struct Queue(Mutex<Lines>);

/// A line of each caller: they take turns, so that a flood of one lengthens no line but its own.
#[derive(Default)]
struct Lines {
    of_callers: HashMap<Arc<str>, Line>,
    turns: VecDeque<Arc<str>>,
    /// Of all lines.
    records: usize,
    writers: usize,
    /// Writers that have nothing to do and are not counted; the last one is woken first.
    lingering: Vec<oneshot::Sender<()>>,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    records: usize,
}

impl Lines {
    /// False: the caller has too much in line.
    fn put(&mut self, caller: &str, waiting: Waiting) -> bool {
        if !self.of_callers.contains_key(caller) {
            let caller: Arc<str> = caller.into();
            self.turns.push_back(Arc::clone(&caller));
            self.of_callers.insert(caller, Line::default());
        }
        let Some(line) = self.of_callers.get_mut(caller) else { return false };
        if line.records > 0 && line.records + waiting.parsed.len() > LINE_RECORDS_MAX {
            return false;
        }
        let length = waiting.parsed.len();
        line.records += length;
        line.waiting.push_back(waiting);
        self.records += length;
        true
    }

    /// Whether what waits is worth a writer more; if so, it is counted. Too long is waited for one that waits itself, for a lock that concerns only some.
    fn add_writer(&mut self, too_long: bool) -> bool {
        let much = self.writers == 0 || too_long || self.records >= ANOTHER_WRITER_FROM;
        let wanted = much && self.writers < WRITERS && !self.turns.is_empty();
        self.writers += usize::from(wanted);
        wanted
    }

    /// What a writer does next. None: nothing waits, and it is one writer less.
    fn take_or_leave(&mut self) -> Option<Vec<Waiting>> {
        let taken = self.take();
        if taken.is_empty() {
            self.writers -= 1;
            return None;
        }
        Some(taken)
    }

    /// For a writer that finds nothing: told when it is wanted again, and counted by then.
    fn linger(&mut self) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        self.lingering.push(wake);
        woken
    }

    /// Wakes a writer that lingers. False: none does.
    fn wake(&mut self) -> bool {
        while let Some(wake) = self.lingering.pop() {
            if wake.send(()).is_ok() {
                return true;
            }
        }
        false
    }

    /// The next that go together, one of each caller's line in turn; a line keeps its order.
    fn take(&mut self) -> Vec<Waiting> {
        let (mut taken, mut count) = (Vec::new(), 0);
        while let Some(caller) = self.turns.pop_front() {
            let Some(line) = self.of_callers.get_mut(&caller) else { continue };
            let Some(next) = line.waiting.front() else {
                self.of_callers.remove(&caller);
                continue;
            };
            let length = next.parsed.len();
            if count + length > RECORDS_MAX && !taken.is_empty() {
                self.turns.push_front(caller);
                break;
            }
            count += length;
            line.records -= length;
            self.records -= length;
            taken.extend(line.waiting.pop_front());
            if line.waiting.is_empty() {
                self.of_callers.remove(&caller);
            } else {
                self.turns.push_back(caller);
            }
        }
        taken
    }
}

impl Queue {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commits what is admitted of a batch, with whatever waits beside it. What was begun is finished when its caller has gone.
pub async fn ingest_together(app: &App, caller: &str, parsed: Parsed) -> Answer {
    let (answer, answered) = oneshot::channel();
    if !app.queue.lines().put(caller, Waiting { parsed, answer }) {
        return Err(Failure::Rejected(IngestRejection::LineFull { records_max: LINE_RECORDS_MAX }));
    }
    start_writer(app, false);
    answered.await.unwrap_or_else(|_| Err(chassis::bug!("a batch was taken and not answered")))
}

/// Starts a writer or wakes one, if what waits is worth it: each goes on until nothing waits, with one connection.
fn start_writer(app: &App, too_long: bool) {
    {
        let mut lines = app.queue.lines();
        if !lines.add_writer(too_long) || lines.wake() {
            return;
        }
    }
    let app = app.clone();
    tokio::spawn(async move {
        let mut leaving = Leaving(&app, true);
        let (mut kept, mut kept_since) = (None, Instant::now());
        loop {
            gather(&app.queue).await;
            let taken = app.queue.lines().take_or_leave();
            leaving.1 = taken.is_some();
            match taken {
                Some(taken) => {
                    if kept_since.elapsed() > KEEP {
                        (kept, kept_since) = (None, Instant::now());
                    }
                    // Of no caller's trace: it is done for all of them.
                    let span = tracing::info_span!(parent: None, "app.ingest_together");
                    let writing = Box::pin(write_together(&app, &mut kept, taken)).instrument(span);
                    with_patience(&app, writing).await;
                }
                None if is_woken(&app).await => leaving.1 = true,
                None => return,
            }
        }
    });
}

/// Lets callers that are about to put something have their turn, so that a transaction is not begun for a few of those that come in one wave.
async fn gather(queue: &Queue) {
    let mut waiting = queue.lines().records;
    for _ in 0..GATHER_TURNS {
        if waiting >= GATHER_RECORDS {
            return;
        }
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut waiting, queue.lines().records);
        if waiting == before {
            return;
        }
    }
}

/// While one writes, whatever waits too long has another writer.
async fn with_patience(app: &App, writing: impl Future<Output = ()>) {
    let mut writing = pin!(writing);
    while tokio::time::timeout(PATIENCE, &mut writing).await.is_err() {
        start_writer(app, true);
    }
}

/// Lingers; false after a while, and when the service stops.
async fn is_woken(app: &App) -> bool {
    if app.pool.options().get_max_connections() < LINGER_FROM_CONNECTIONS {
        return false;
    }
    let mut woken = app.queue.lines().linger();
    let lingered = app.pool.close_event().do_until(tokio::time::timeout(LINGER, &mut woken)).await;
    matches!(lingered, Ok(Ok(Ok(())))) || was_woken(woken)
}

/// The last chance: after it nobody can be told who would not listen.
fn was_woken(mut woken: oneshot::Receiver<()>) -> bool {
    woken.close();
    woken.try_recv().is_ok()
}

/// A writer that panics leaves all the same, and another goes on.
struct Leaving<'a>(&'a App, bool);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.queue.lines().writers -= 1;
            start_writer(self.0, false);
        }
    }
}

type Kept = Option<PoolConnection<Postgres>>;

/// With the writer's connection, which after a failure is another one the next time.
async fn ingest(app: &App, kept: &mut Kept, parsed: &Parsed) -> Answer {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => app.pool.acquire().await?,
    };
    let ingested = ingest_usage(app, &mut connection, parsed).await?;
    *kept = Some(connection);
    Ok(ingested)
}

/// The next that go together. One that fails for a fault of ours fails alone: the others are tried apart.
async fn write_together(app: &App, kept: &mut Kept, taken: Vec<Waiting>) {
    let lengths: Vec<usize> = taken.iter().map(|waiting| waiting.parsed.len()).collect();
    let (parts, answers): (Vec<Parsed>, Vec<_>) =
        taken.into_iter().map(|waiting| (waiting.parsed, waiting.answer)).unzip();
    let together: Parsed = parts.into_iter().flatten().collect();
    if answers.len() > 1 {
        match ingest(app, kept, &together).await {
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
        drop(answer.send(ingest(app, kept, &own).await));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(records: usize) -> Waiting {
        let parsed = (0..records).map(|_| Err(UsageRefusal::UnknownMeter)).collect();
        Waiting { parsed, answer: oneshot::channel().0 }
    }

    fn lengths(taken: &[Waiting]) -> Vec<usize> {
        taken.iter().map(|waiting| waiting.parsed.len()).collect()
    }

    #[test]
    fn a_flood_of_one_caller_does_not_keep_another_waiting() {
        let mut lines = Lines::default();
        (0..50).for_each(|_| assert!(lines.put("flood", waiting(1_000))));
        assert!(lines.put("other", waiting(7)));
        assert!(lines.put("other", waiting(8)));
        assert_eq!(lengths(&lines.take()), [1_000, 7, 1_000, 8, 1_000, 1_000]);
        assert_eq!(lengths(&lines.take()), [1_000; 5]);
    }

    /// The first begins at once. Another is worth it when much waits; who finds nothing leaves, and whatever comes then is begun at once again.
    #[test]
    fn a_second_writer_begins_when_much_waits() {
        let mut lines = Lines::default();
        assert!(!lines.add_writer(false), "nothing waits");
        assert!(lines.put("one", waiting(10)));
        assert!(lines.add_writer(false));
        assert!(lines.put("one", waiting(ANOTHER_WRITER_FROM - 11)));
        assert!(!lines.add_writer(false), "little waits");
        assert!(lines.put("two", waiting(1)));
        assert!(lines.add_writer(false));
        assert!(lines.put("two", waiting(5_000)));
        assert!(!lines.add_writer(true), "as many as may");
        assert_eq!(lines.records, ANOTHER_WRITER_FROM + 5_000);
        assert!(lines.take_or_leave().is_some() && lines.take_or_leave().is_some());
        assert_eq!((lines.records, lines.writers), (0, 2));
        assert!(lines.take_or_leave().is_none() && lines.take_or_leave().is_none());
        assert!(!lines.add_writer(true), "nothing waits, however long");
        assert!(lines.put("one", waiting(1)) && lines.add_writer(false));
        assert!(!lines.add_writer(false), "little waits, and not for long");
        assert!(lines.add_writer(true));
    }

    /// Callers that are ready put theirs first; nobody is waited for who is not.
    #[tokio::test]
    async fn a_writer_gathers_what_is_ready_and_no_more_than_is_worth_it() {
        let queue = Arc::new(Queue::default());
        assert!(queue.lines().put("one", waiting(1)));
        let polled = async |gathering: &mut std::pin::Pin<&mut dyn Future<Output = ()>>| {
            std::future::poll_fn(|context| std::task::Poll::Ready(gathering.as_mut().poll(context))).await
        };
        let mut alone: std::pin::Pin<&mut dyn Future<Output = ()>> = pin!(gather(&queue));
        assert!(polled(&mut alone).await.is_pending(), "the others have one turn");
        assert!(polled(&mut alone).await.is_ready(), "and no other when nobody came");
        // Each comes after the one before, on a turn of its own.
        let later = |turn: usize| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for _ in 0..turn {
                    tokio::task::yield_now().await;
                }
                assert!(queue.lines().put("one", waiting(1)));
            })
        };
        let tasks: Vec<_> = (0..GATHER_TURNS * 2).map(later).collect();
        gather(&queue).await;
        assert_eq!(queue.lines().records, 1 + GATHER_TURNS, "so many turns");
        for task in tasks {
            task.await.expect("it puts");
        }
        assert!(queue.lines().put("one", waiting(GATHER_RECORDS)));
        let mut much: std::pin::Pin<&mut dyn Future<Output = ()>> = pin!(gather(&queue));
        assert!(polled(&mut much).await.is_ready(), "much is not made to wait");
    }

    #[test]
    fn the_last_writer_that_lingers_is_woken_first() {
        let mut lines = Lines::default();
        assert!(!lines.wake(), "none does");
        let (mut first, mut second, gone) = (lines.linger(), lines.linger(), lines.linger());
        drop(gone);
        assert!(lines.wake());
        assert!(second.try_recv().is_ok() && first.try_recv().is_err());
        assert!(lines.wake());
        assert!(first.try_recv().is_ok());
        assert!(!lines.wake());
    }

    /// Between the end of the wait and the end of listening a writer can be counted: it must go on then.
    #[test]
    fn a_writer_that_is_woken_at_the_last_moment_goes_on() {
        let mut lines = Lines::default();
        let late = lines.linger();
        assert!(lines.wake() && was_woken(late));
        let in_vain = lines.linger();
        assert!(!was_woken(in_vain));
        assert!(!lines.wake(), "who does not listen any more is not counted on");
    }

    #[test]
    fn a_line_is_bounded_and_a_large_batch_goes_alone() {
        let mut lines = Lines::default();
        (0..40).for_each(|_| assert!(lines.put("flood", waiting(5_000))));
        assert!(!lines.put("flood", waiting(1)), "the line is full");
        assert!(lines.put("other", waiting(1)), "another's is not");
        assert_eq!(lengths(&lines.take()), [5_000]);
        assert_eq!(lengths(&lines.take()), [1]);
        assert!(lines.put("flood", waiting(1)), "there is room again");
        while !lines.take().is_empty() {}
        assert!(lines.turns.is_empty() && lines.of_callers.is_empty());
    }
}
