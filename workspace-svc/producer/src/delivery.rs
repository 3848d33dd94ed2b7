//! Delivers batches over the acked stream: a window of them is under way, what is unacked is sent again after every break, and each
//! batch is answered once by a receipt. For programs that keep their records themselves, such as a loader of files: what has no receipt
//! when the program ends has to be delivered again, under the same ids. `Producer` adds a journal to it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::{UsageRecord, UsageServiceIngestRequest, UsageServiceIngestResponse};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::backoff::Backoff;
use crate::config::limits;
use crate::token::TokenSource;
use crate::window::Window;

/// To connect takes no longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection whose other side is gone is noticed by then, also while nothing is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A stream that is done is closed politely, if that does not take longer.
const CLOSING_MAX: Duration = Duration::from_secs(1);
/// What a record adds to its own bytes in a batch: a tag and a length.
const FRAME_BYTES: usize = 5;

/// Records to deliver together, each with what its sender knows it by.
#[derive(Debug)]
pub struct Batch<T> {
    /// In order.
    pub items: Vec<(T, UsageRecord)>,
}

/// What became of a batch: accepted, duplicate and refused records are all of it.
#[derive(Debug)]
pub struct Receipt<T> {
    /// The batch.
    pub items: Vec<(T, UsageRecord)>,
    /// How many were counted now.
    pub accepted_count: u64,
    /// How many had been counted before.
    pub duplicate_count: u64,
    /// How many of the accepted came after their day was closed.
    pub late_count: u64,
    /// What was not counted.
    pub refusals: Vec<Refusal>,
}

/// A record of a batch that was not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the batch.
    pub index: usize,
    /// Why.
    pub reason: ErrorReason,
    /// Which field or value, in words.
    pub message: String,
}

/// How many bytes a record takes in a batch.
pub fn bytes_of(record: &UsageRecord) -> usize {
    record.encoded_len().saturating_add(FRAME_BYTES)
}

/// Where to deliver to, and how patiently.
#[derive(Clone)]
pub struct Link {
    /// Where workspace-svc is.
    pub endpoint: Endpoint,
    /// What streams begin with.
    pub token: Arc<dyn TokenSource>,
    /// Batches under way that are not acked: 1 to 8.
    pub window: usize,
    /// How long an ack may take before the stream counts as broken.
    pub ack_wait_max: Duration,
    /// The shortest and the longest wait between two tries.
    pub backoff: std::ops::RangeInclusive<Duration>,
    /// Without any ack for so long, delivery is given up; never, unless it is set.
    pub give_up_after: Option<Duration>,
    /// Says what is wrong at present; nothing while all is well.
    pub trouble: watch::Sender<Option<String>>,
}

/// An address that is none.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// Not a URI.
    #[error("the address cannot be used")]
    Malformed(#[from] tonic::transport::Error),
    /// The crate was built without TLS.
    #[error("an address that begins with https:// needs the feature \"tls\"")]
    NoTls,
}

/// The endpoint of an address such as `http://127.0.0.1:50052`.
pub fn endpoint(address: &str) -> Result<Endpoint, InvalidAddress> {
    let endpoint = Endpoint::from_shared(address.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    if !address.starts_with("https://") {
        return Ok(endpoint);
    }
    #[cfg(feature = "tls")]
    let secured = Ok(endpoint.tls_config(tonic::transport::ClientTlsConfig::new().with_webpki_roots())?);
    #[cfg(not(feature = "tls"))]
    let secured = Err(InvalidAddress::NoTls);
    secured
}

/// Delivery ended before everything was delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Nothing was acked for as long as the link is patient.
    #[error("nothing was acked for {}s: {last}", waited.as_secs())]
    GaveUp {
        /// How long.
        waited: Duration,
        /// What went wrong last.
        last: String,
    },
    /// Nobody takes the receipts any more.
    #[error("nobody takes the receipts")]
    Abandoned,
}

/// Delivers every batch, and sends a receipt of each, in the order of the batches. Ends when there are no more.
pub async fn deliver<T: Send>(
    link: Link,
    batches: mpsc::Receiver<Batch<T>>,
    receipts: mpsc::Sender<Receipt<T>>,
) -> Result<(), Undelivered> {
    let client = UsageServiceClient::new(link.endpoint.connect_lazy());
    let window = Window::new(link.window.clamp(1, limits::WINDOW_MAX));
    let courier =
        Courier { client, link, batches, receipts, window, is_last: false, acked_at: Instant::now() };
    courier.run().await
}

/// How a stream ended.
enum Ended {
    /// There is nothing more to deliver.
    Done,
    /// It can be tried again.
    Broken(String),
    /// The first batch under way is refused for good.
    BatchRefused(String),
    /// Nobody takes the receipts.
    Abandoned,
}

struct Courier<T> {
    client: UsageServiceClient<Channel>,
    link: Link,
    batches: mpsc::Receiver<Batch<T>>,
    receipts: mpsc::Sender<Receipt<T>>,
    window: Window<T>,
    is_last: bool,
    acked_at: Instant,
}

impl<T: Send> Courier<T> {
    async fn run(mut self) -> Result<(), Undelivered> {
        let mut backoff = Backoff::new(self.link.backoff.clone());
        loop {
            if self.window.is_empty() {
                let Some(batch) = self.batches.recv().await else { return Ok(()) };
                self.window.push(batch);
                self.acked_at = Instant::now();
            }
            let begun = Instant::now();
            let ended = self.converse().await;
            if self.acked_at > begun {
                backoff.reset();
            }
            match ended {
                Ended::Done => return Ok(()),
                Ended::Abandoned => return Err(Undelivered::Abandoned),
                // A service that stops between two batches is no trouble.
                Ended::Broken(_) if self.window.is_empty() => {}
                Ended::Broken(last) => self.wait(&mut backoff, last).await?,
                Ended::BatchRefused(message) => {
                    // Because: each refusal halves a batch or takes one record away, so that there is an end to them.
                    self.acked_at = Instant::now();
                    backoff.reset();
                    if let Some(receipt) = self.window.refused(&message)
                        && self.receipts.send(receipt).await.is_err()
                    {
                        return Err(Undelivered::Abandoned);
                    }
                }
            }
        }
    }

    async fn wait(&self, backoff: &mut Backoff, last: String) -> Result<(), Undelivered> {
        let waited = self.acked_at.elapsed();
        if self.link.give_up_after.is_some_and(|patience| waited >= patience) {
            return Err(Undelivered::GaveUp { waited, last });
        }
        tracing::warn!(problem = last, "usage waits");
        self.link.trouble.send_replace(Some(last));
        tokio::time::sleep(backoff.next_wait()).await;
        Ok(())
    }

    /// Opens a stream, sends what is unacked, and goes on until it ends.
    async fn converse(&mut self) -> Ended {
        let (out, messages) = mpsc::channel(self.link.window.clamp(1, limits::WINDOW_MAX));
        self.window.begin_stream();
        self.send_waiting(&out);
        let mut acks = match self.open(messages).await {
            Ok(acks) => acks,
            Err(problem) => return Ended::Broken(problem),
        };
        let mut waiting_since = Instant::now();
        loop {
            self.send_waiting(&out);
            if self.window.is_empty() && self.is_last {
                drop(out);
                // All is acked: how the stream ends changes nothing.
                drop(tokio::time::timeout(CLOSING_MAX, acks.message()).await);
                return Ended::Done;
            }
            let was_empty = self.window.is_empty();
            tokio::select! {
                ack = acks.message() => {
                    waiting_since = Instant::now();
                    if let Some(ended) = self.hear(ack).await {
                        return ended;
                    }
                }
                batch = self.batches.recv(), if self.window.has_room() && !self.is_last => match batch {
                    Some(batch) => {
                        self.window.push(batch);
                        if was_empty {
                            waiting_since = Instant::now();
                            self.acked_at = waiting_since;
                        }
                    }
                    None => self.is_last = true,
                },
                () = tokio::time::sleep_until(waiting_since + self.link.ack_wait_max), if !was_empty => {
                    return Ended::Broken("an ack is overdue".to_owned());
                }
            }
        }
    }

    async fn open(
        &mut self,
        messages: mpsc::Receiver<UsageServiceIngestRequest>,
    ) -> Result<Streaming<UsageServiceIngestResponse>, String> {
        let token = self.link.token.token().await.map_err(|error| format!("{error}: {}", error.source))?;
        let mut request = Request::new(ReceiverStream::new(messages));
        let value =
            format!("Bearer {token}").parse().map_err(|_| "the token is no header value".to_owned())?;
        request.metadata_mut().insert("authorization", value);
        let opening = tokio::time::timeout(self.link.ack_wait_max, self.client.ingest(request)).await;
        match opening {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // Whatever its code: it is about the call, since no batch was looked at.
            Ok(Err(status)) => Err(in_words(&status)),
            Err(_) => Err("the stream is not opened".to_owned()),
        }
    }

    /// The channel has room for as many as may be under way.
    fn send_waiting(&mut self, out: &mpsc::Sender<UsageServiceIngestRequest>) {
        while let Ok(place) = out.try_reserve() {
            let Some(message) = self.window.next_message() else { return };
            place.send(message);
        }
    }

    async fn hear(&mut self, ack: Result<Option<UsageServiceIngestResponse>, Status>) -> Option<Ended> {
        let ack = match ack {
            Ok(Some(ack)) => ack,
            Ok(None) => return Some(Ended::Broken("the service has ended the stream".to_owned())),
            // Acks come in the order sent: an error speaks of the first batch that has none.
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) => {
                return Some(Ended::BatchRefused(in_words(&status)));
            }
            Err(status) => return Some(Ended::Broken(in_words(&status))),
        };
        let receipt = match self.window.acked(ack) {
            Ok(receipt) => receipt,
            Err(nonsense) => return Some(Ended::Broken(nonsense.to_string())),
        };
        self.acked_at = Instant::now();
        self.link.trouble.send_if_modified(|trouble| trouble.take().is_some());
        // The receipt may wait for its taker; until then nothing more is read, and the service is held.
        self.receipts.send(receipt).await.is_err().then_some(Ended::Abandoned)
    }
}

fn in_words(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
