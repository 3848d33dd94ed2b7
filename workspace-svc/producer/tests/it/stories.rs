//! Everything that is recorded is counted once or refused, whatever breaks in between.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tallystick_producer::{
    EventId, FixedToken, OpenError, Producer, ProducerConfig, RecordError, Refused, TokenFuture, TokenSource,
    Usage, now,
};
use tallystick_proto::common::v1::ErrorReason;
use tokio::net::TcpListener;

use crate::fake::{Fault, POISON_METER, REFUSED_METER, Serving, TOKEN};

/// Longer than this nobody waits.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of one's own, removed in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tallystick-producer-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn usage(quantity: u64) -> Usage {
    Usage {
        workspace_id: "wksp_01900000-0000-7000-8000-000000000001".to_owned(),
        meter: "pv".to_owned(),
        dimension: String::new(),
        quantity,
        event_time: now(),
        count_from_time: None,
    }
}

fn config(scratch: &Scratch, uri: &str) -> ProducerConfig {
    let mut config = ProducerConfig::new(scratch.0.clone(), uri);
    config.batch_records_max = 50;
    config.batch_age_max = Duration::from_millis(5);
    config.backoff_min = Duration::from_millis(1);
    config.backoff_max = Duration::from_millis(20);
    config
}

async fn open(config: ProducerConfig) -> Producer {
    Producer::open(config, FixedToken::new(TOKEN.to_owned())).await.unwrap()
}

async fn flush(producer: &Producer) {
    tokio::time::timeout(PATIENCE, producer.flush()).await.expect("it is delivered").unwrap();
}

/// The ids that were counted. None came with another content; the books keep one entry per id, so that none was counted twice.
pub fn counted_once(serving: &Serving) -> HashSet<String> {
    let books = serving.fake.books();
    assert_eq!(books.reused, Vec::<String>::new());
    let ids: HashSet<_> = books.counted.keys().map(|(_, event_id, _)| event_id.clone()).collect();
    assert_eq!(ids.len(), books.counted.len(), "an id is of one workspace and day here");
    ids
}

async fn record_many(producer: &Arc<Producer>, count: u64) -> HashSet<String> {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let producer = Arc::clone(producer);
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for quantity in (task..count).step_by(16) {
                ids.push(producer.record(usage(quantity)).await.unwrap().to_string());
            }
            ids
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_counted_once_whatever_breaks() {
    let (scratch, serving) = (Scratch::new("breaks"), Serving::start().await);
    let faults = [
        Some(Fault::BreakBefore),
        None,
        Some(Fault::BreakAfter),
        Some(Fault::Unavailable),
        None,
        Some(Fault::Slow),
        None,
        Some(Fault::Nonsense),
        None,
        Some(Fault::BreakAfter),
        None,
        None,
    ];
    serving.fake.plan((0..10).flat_map(|_| faults));
    let mut config = config(&scratch, &serving.uri());
    config.segment_bytes_max = 64 * 1024;
    let producer = Arc::new(open(config).await);
    let recorded = record_many(&producer, 4_000).await;
    assert_eq!(recorded.len(), 4_000);
    flush(&producer).await;
    assert_eq!(counted_once(&serving), recorded);
    assert!(serving.fake.books().duplicate_count > 0, "something was counted and not acked");
    assert!(serving.fake.books().under_way_max <= 8);
    let standing = producer.standing();
    assert_eq!((standing.waiting_count, &standing.trouble), (0, &None));
    assert!(standing.journal_bytes < 2 * 64 * 1024, "done segments are removed: {standing:?}");
    producer.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_acks_let_no_more_than_eight_batches_under_way() {
    let (scratch, serving) = (Scratch::new("slow"), Serving::start().await);
    serving.fake.plan((0..12).map(|_| Some(Fault::Slow)));
    let mut config = config(&scratch, &serving.uri());
    config.batch_records_max = 5;
    let producer = Arc::new(open(config).await);
    let recorded = record_many(&producer, 200).await;
    flush(&producer).await;
    assert_eq!(counted_once(&serving), recorded);
    let books = serving.fake.books();
    assert!((2..=8).contains(&books.under_way_max), "{}", books.under_way_max);
    assert_eq!((books.stream_count, books.duplicate_count), (1, 0), "slow is not broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_service_is_left_for_another_stream() {
    let (scratch, serving) = (Scratch::new("silent"), Serving::start().await);
    serving.fake.plan([Some(Fault::Silent)]);
    let mut config = config(&scratch, &serving.uri());
    config.ack_wait_max = Duration::from_secs(1);
    let producer = open(config).await;
    let event_id = producer.record(usage(1)).await.unwrap().to_string();
    flush(&producer).await;
    assert_eq!(counted_once(&serving), HashSet::from([event_id]));
    assert_eq!(serving.fake.books().stream_count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_are_told_and_kept_and_not_sent_again() {
    let (scratch, serving) = (Scratch::new("refused"), Serving::start().await);
    let told: Arc<Mutex<Vec<Refused>>> = Arc::default();
    let mut config = config(&scratch, &serving.uri());
    let teller = Arc::clone(&told);
    config.on_refused = Some(Arc::new(move |refused: &Refused| {
        teller.lock().unwrap().push(refused.clone());
        panic!("a handler that panics breaks nothing");
    }));
    let producer = open(config.clone()).await;
    let mut recorded = HashSet::new();
    for quantity in 0..100 {
        let mut usage = usage(quantity);
        if quantity % 10 == 3 {
            usage.meter = REFUSED_METER.to_owned();
            producer.record(usage).await.unwrap();
        } else {
            recorded.insert(producer.record(usage).await.unwrap().to_string());
        }
    }
    flush(&producer).await;
    producer.close(PATIENCE).await.unwrap();
    let again = open(config).await;
    flush(&again).await;
    again.close(PATIENCE).await.unwrap();
    assert_eq!(counted_once(&serving), recorded);
    let books = serving.fake.books();
    assert!(
        books.refused.len() == 10 && books.refused.values().all(|count| *count == 1),
        "{:?}",
        books.refused
    );
    let told = told.lock().unwrap();
    let quantities: Vec<_> = told.iter().map(|refused| refused.record.usage.quantity).collect();
    assert_eq!(quantities, (0..10).map(|ten| ten * 10 + 3).collect::<Vec<_>>());
    assert!(told.iter().all(|refused| refused.reason == ErrorReason::UnknownMeter));
    let kept = std::fs::read_to_string(scratch.0.join("refused.csv")).unwrap();
    assert_eq!(kept.lines().count(), 11, "{kept}");
    assert!(
        kept.lines().nth(1).unwrap().ends_with(",unknown,,3,,UNKNOWN_METER,\"said \"\"no\"\"\""),
        "{kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_as_a_whole_costs_only_the_record_that_spoils_it() {
    let (scratch, serving) = (Scratch::new("poison"), Serving::start().await);
    // Everything lies ready before the first batch is made.
    let away = Arc::new(open(config(&scratch, "http://127.0.0.1:1")).await);
    let recorded = record_many(&away, 300).await;
    for quantity in [7, 8] {
        let poison = Usage { meter: POISON_METER.to_owned(), ..usage(quantity) };
        away.record(poison).await.unwrap();
    }
    let later = record_many(&away, 300).await;
    away.close(Duration::ZERO).await.expect_err("nobody is there");
    let producer = open(config(&scratch, &serving.uri())).await;
    flush(&producer).await;
    let all: HashSet<_> = recorded.union(&later).cloned().collect();
    assert_eq!(counted_once(&serving), all);
    let kept = std::fs::read_to_string(scratch.0.join("refused.csv")).unwrap();
    assert_eq!(
        kept.lines().filter(|line| line.contains(",poison,") && line.contains(",FIELD_INVALID,")).count(),
        2
    );
    assert_eq!(kept.lines().count(), 3);
    // Two of 50: at most 6 halvings each, and a stream for each.
    assert!(serving.fake.books().stream_count < 20, "{}", serving.fake.books().stream_count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_begins_before_the_service_delivers_when_it_comes() {
    let scratch = Scratch::new("early");
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let producer = open(config(&scratch, &format!("http://{address}"))).await;
    let event_id = producer.record(usage(1)).await.unwrap().to_string();
    let in_trouble = async {
        while producer.standing().trouble.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, in_trouble).await.expect("trouble is told");
    assert_eq!(producer.standing().waiting_count, 1);
    let serving = Serving::start_with(Arc::default(), TcpListener::bind(address).await.unwrap());
    flush(&producer).await;
    assert_eq!(producer.standing().trouble, None);
    assert_eq!(counted_once(&serving), HashSet::from([event_id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_producer_had_sent_without_an_ack_is_sent_again_as_it_was() {
    let (scratch, serving) = (Scratch::new("dropped"), Serving::start().await);
    serving.fake.plan([Some(Fault::Silent)]);
    let producer = Arc::new(open(config(&scratch, &serving.uri())).await);
    let recorded = record_many(&producer, 120).await;
    let counted = async {
        while serving.fake.books().counted.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the first batch is counted");
    drop(producer);
    // Its last tasks and its lock end with it, a moment later.
    let again = async {
        loop {
            match Producer::open(config(&scratch, &serving.uri()), FixedToken::new(TOKEN.to_owned())).await {
                Err(OpenError::InUse) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => return opened.unwrap(),
            }
        }
    };
    let producer = tokio::time::timeout(PATIENCE, again).await.expect("the lock is lifted");
    flush(&producer).await;
    assert_eq!(counted_once(&serving), recorded);
    assert!(serving.fake.books().duplicate_count > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_one_producers_until_it_is_closed() {
    let (scratch, serving) = (Scratch::new("locked"), Serving::start().await);
    let producer = open(config(&scratch, &serving.uri())).await;
    let second = Producer::open(config(&scratch, &serving.uri()), FixedToken::new(TOKEN.to_owned())).await;
    assert!(matches!(second, Err(OpenError::InUse)));
    producer.close(PATIENCE).await.unwrap();
    assert_eq!(producer.record(usage(1)).await, Err(RecordError::Closed));
    assert!(producer.flush().await.is_ok(), "nothing was recorded");
    open(config(&scratch, &serving.uri())).await.close(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_and_takes_again_once_it_is_delivered() {
    let scratch = Scratch::new("full");
    let mut small = config(&scratch, "http://127.0.0.1:1");
    small.segment_bytes_max = 64 * 1024;
    small.journal_bytes_max = 256 * 1024;
    let producer = open(small.clone()).await;
    let mut recorded = HashSet::new();
    let error = loop {
        match producer.record(usage(1)).await {
            Ok(event_id) => recorded.insert(event_id.to_string()),
            Err(error) => break error,
        };
    };
    assert_eq!(error, RecordError::JournalFull);
    assert!(producer.standing().journal_bytes <= 256 * 1024);
    let left = producer.close(Duration::ZERO).await.unwrap_err();
    assert_eq!(left.waiting_count, u64::try_from(recorded.len()).unwrap());
    let serving = Serving::start().await;
    small.address = serving.uri();
    let producer = open(small).await;
    flush(&producer).await;
    recorded.insert(producer.record(usage(1)).await.unwrap().to_string());
    flush(&producer).await;
    assert_eq!(counted_once(&serving), recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_is_counted_once_however_often_it_is_recorded() {
    let (scratch, serving) = (Scratch::new("foreign"), Serving::start().await);
    let producer = open(config(&scratch, &serving.uri())).await;
    let usage = usage(5);
    for _ in 0..3 {
        producer.record_as(EventId::of_foreign("urn:meter:7", "reading-1"), usage.clone()).await.unwrap();
    }
    flush(&producer).await;
    assert_eq!(counted_once(&serving).len(), 1);
    assert_eq!(serving.fake.books().duplicate_count, 2);
}

/// Gives a token that is worth nothing, then none, then the right one.
struct Changing(AtomicU32);

impl TokenSource for Changing {
    fn token(&self) -> TokenFuture<'_> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match number {
                0 => Ok("expired".to_owned()),
                1 => Err(tallystick_producer::TokenError {
                    what: "asking".to_owned(),
                    source: "nobody answers".into(),
                }),
                _ => Ok(TOKEN.to_owned()),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_again_until_one_is_taken() {
    let (scratch, serving) = (Scratch::new("token"), Serving::start().await);
    let producer =
        Producer::open(config(&scratch, &serving.uri()), Changing(AtomicU32::new(0))).await.unwrap();
    producer.record(usage(1)).await.unwrap();
    flush(&producer).await;
    assert_eq!(counted_once(&serving).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_tls_is_refused_by_a_build_without_it() {
    let scratch = Scratch::new("tls");
    let opened =
        Producer::open(config(&scratch, "https://usage.example.com"), Changing(AtomicU32::new(0))).await;
    let is_address = matches!(opened, Err(OpenError::Address(_)));
    assert_eq!(is_address, !cfg!(feature = "tls"));
}
