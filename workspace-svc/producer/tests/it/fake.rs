//! A `UsageService` that counts as the real one does, and breaks when it is told to.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_server::{UsageService, UsageServiceServer};
use tallystick_proto::workspace::v1::*;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// The token that it knows.
pub const TOKEN: &str = "secret";
/// Records of this meter are refused one by one.
pub const REFUSED_METER: &str = "unknown";
/// A batch with a record of this meter is refused as a whole.
pub const POISON_METER: &str = "poison";

/// What becomes of a batch.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The stream ends before the batch is counted.
    BreakBefore,
    /// The stream ends after the batch was counted; it is not acked.
    BreakAfter,
    /// UNAVAILABLE, as when the service drains.
    Unavailable,
    /// Counted, and not acked as long as the stream lives.
    Silent,
    /// Acked late.
    Slow,
    /// Acked with nonsense.
    Nonsense,
}

/// What the fake has seen.
#[derive(Debug, Default)]
pub struct Books {
    /// The content of every counted record by workspace, id and day.
    pub counted: HashMap<(String, String, i64), String>,
    /// Ids that came with another content than before.
    pub reused: Vec<String>,
    /// How often each id of a refused meter came.
    pub refused: HashMap<String, u32>,
    pub duplicate_count: u64,
    pub stream_count: u64,
    /// The most batches that were ever read and not acked.
    pub under_way_max: usize,
}

#[derive(Debug, Default)]
pub struct Fake {
    books: Mutex<Books>,
    faults: Mutex<VecDeque<Option<Fault>>>,
}

/// What is registered with the router: answers outlive the call that they answer.
struct Room(Arc<Fake>);

/// The fake, serving.
pub struct Serving {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
}

impl Serving {
    pub async fn start() -> Self {
        Self::start_with(Arc::new(Fake::default()), TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn start_with(fake: Arc<Fake>, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let router =
            tonic::transport::Server::builder().add_service(UsageServiceServer::new(Room(Arc::clone(&fake))));
        // It serves until the test ends.
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { fake, address }
    }

    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Fake {
    pub fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// What becomes of the next batches, one by one.
    pub fn plan(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn take(&self, batch: &UsageServiceIngestRequest) -> Result<UsageServiceIngestResponse, Status> {
        let bytes: usize = batch.records.iter().map(prost::Message::encoded_len).sum();
        let is_poison = batch.records.iter().any(|record| record.meter == POISON_METER);
        if batch.records.is_empty() || batch.records.len() > 5_000 || bytes > 1024 * 1024 || is_poison {
            return Err(Status::invalid_argument("the batch"));
        }
        let mut books = self.books();
        let mut answer = UsageServiceIngestResponse { batch_seq: batch.batch_seq, ..Default::default() };
        for (index, record) in batch.records.iter().enumerate() {
            let refusal = |reason: ErrorReason| UsageRefusal {
                index: i32::try_from(index).unwrap(),
                reason: reason.into(),
                message: "said \"no\"".to_owned(),
            };
            if record.meter == REFUSED_METER {
                *books.refused.entry(record.event_id.clone()).or_default() += 1;
                answer.refusals.push(refusal(ErrorReason::UnknownMeter));
                continue;
            }
            let time = record.event_time.unwrap();
            let key =
                (record.workspace_id.clone(), record.event_id.clone(), (time.seconds + 28_800) / 86_400);
            let content = format!("{time:?} {} {} {}", record.meter, record.dimension, record.quantity);
            match books.counted.get(&key) {
                Some(known) if *known == content => answer.duplicate_count += 1,
                Some(_) => {
                    books.reused.push(record.event_id.clone());
                    answer.refusals.push(refusal(ErrorReason::EventIdReused));
                }
                None => {
                    books.counted.insert(key, content);
                    answer.accepted_count += 1;
                }
            }
        }
        books.duplicate_count += u64::try_from(answer.duplicate_count).unwrap();
        Ok(answer)
    }

    async fn answer(
        self: Arc<Self>,
        mut batches: mpsc::UnboundedReceiver<UsageServiceIngestRequest>,
        acks: mpsc::Sender<Result<UsageServiceIngestResponse, Status>>,
    ) {
        while let Some(batch) = batches.recv().await {
            // What lies in the channel was read as well.
            let under_way = batches.len() + 1;
            let most = self.books().under_way_max.max(under_way);
            self.books().under_way_max = most;
            let fault = self.faults.lock().unwrap().pop_front().flatten();
            let mut answer = match fault {
                Some(Fault::BreakBefore) => return,
                Some(Fault::Unavailable) => Err(Status::unavailable("draining")),
                _ => self.take(&batch),
            };
            match (fault, &mut answer) {
                (Some(Fault::BreakAfter), _) => return,
                (Some(Fault::Silent), _) => acks.closed().await,
                (Some(Fault::Slow), _) => tokio::time::sleep(Duration::from_millis(100)).await,
                (Some(Fault::Nonsense), Ok(ack)) => ack.accepted_count += 1,
                _ => {}
            }
            let has_ended = answer.is_err();
            if acks.send(answer).await.is_err() || has_ended {
                return;
            }
        }
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl UsageService for Room {
    type IngestStream = Out<UsageServiceIngestResponse>;
    type StreamSealedDaysStream = Out<UsageServiceStreamSealedDaysResponse>;

    async fn ingest(
        &self,
        request: Request<Streaming<UsageServiceIngestRequest>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if token != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("the token"));
        }
        self.0.books().stream_count += 1;
        let mut batches = request.into_inner();
        let (read, heard) = mpsc::unbounded_channel();
        let (acks, out) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Ok(batch)) = batches.next().await {
                if read.send(batch).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(Arc::clone(&self.0).answer(heard, acks));
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn ingest_batch(
        &self,
        _: Request<UsageServiceIngestBatchRequest>,
    ) -> Result<Response<UsageServiceIngestBatchResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn report_points(
        &self,
        _: Request<UsageServiceReportPointsRequest>,
    ) -> Result<Response<UsageServiceReportPointsResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn report_keys(
        &self,
        _: Request<UsageServiceReportKeysRequest>,
    ) -> Result<Response<UsageServiceReportKeysResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn list_meters(
        &self,
        _: Request<UsageServiceListMetersRequest>,
    ) -> Result<Response<UsageServiceListMetersResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn lookup(
        &self,
        _: Request<UsageServiceLookupRequest>,
    ) -> Result<Response<UsageServiceLookupResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn void(
        &self,
        _: Request<UsageServiceVoidRequest>,
    ) -> Result<Response<UsageServiceVoidResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn query(
        &self,
        _: Request<UsageServiceQueryRequest>,
    ) -> Result<Response<UsageServiceQueryResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn get_overview(
        &self,
        _: Request<UsageServiceGetOverviewRequest>,
    ) -> Result<Response<UsageServiceGetOverviewResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn seal_day(
        &self,
        _: Request<UsageServiceSealDayRequest>,
    ) -> Result<Response<UsageServiceSealDayResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn list_seal_failures(
        &self,
        _: Request<UsageServiceListSealFailuresRequest>,
    ) -> Result<Response<UsageServiceListSealFailuresResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn list_suspect_usage(
        &self,
        _: Request<UsageServiceListSuspectUsageRequest>,
    ) -> Result<Response<UsageServiceListSuspectUsageResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn set_sellable_items(
        &self,
        _: Request<UsageServiceSetSellableItemsRequest>,
    ) -> Result<Response<UsageServiceSetSellableItemsResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn import_sealed_day(
        &self,
        _: Request<UsageServiceImportSealedDayRequest>,
    ) -> Result<Response<UsageServiceImportSealedDayResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn list_late_usage(
        &self,
        _: Request<UsageServiceListLateUsageRequest>,
    ) -> Result<Response<UsageServiceListLateUsageResponse>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }

    async fn stream_sealed_days(
        &self,
        _: Request<UsageServiceStreamSealedDaysRequest>,
    ) -> Result<Response<Self::StreamSealedDaysStream>, Status> {
        Err(Status::unimplemented("a stream is wanted"))
    }
}
