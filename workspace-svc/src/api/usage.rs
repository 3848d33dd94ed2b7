//! `UsageService`

use std::pin::Pin;

use chassis::failure::Failure;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use prost::Message as _;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::usage_service_server::UsageService;
use tallystick_proto::workspace::v1::{
    LateUsage, UsageRecord, UsageServiceGetOverviewRequest, UsageServiceGetOverviewResponse,
    UsageServiceImportSealedDayRequest, UsageServiceImportSealedDayResponse, UsageServiceIngestBatchRequest,
    UsageServiceIngestBatchResponse, UsageServiceIngestRequest, UsageServiceIngestResponse,
    UsageServiceListLateUsageRequest, UsageServiceListLateUsageResponse, UsageServiceListMetersRequest,
    UsageServiceListMetersResponse, UsageServiceListSealFailuresRequest,
    UsageServiceListSealFailuresResponse, UsageServiceListSuspectUsageRequest,
    UsageServiceListSuspectUsageResponse, UsageServiceLookupRequest, UsageServiceLookupResponse,
    UsageServiceQueryRequest, UsageServiceQueryResponse, UsageServiceReportKeysRequest,
    UsageServiceReportKeysResponse, UsageServiceReportPointsRequest, UsageServiceReportPointsResponse,
    UsageServiceSealDayRequest, UsageServiceSealDayResponse, UsageServiceSetSellableItemsRequest,
    UsageServiceSetSellableItemsResponse, UsageServiceStreamSealedDaysRequest,
    UsageServiceStreamSealedDaysResponse, UsageServiceVoidRequest, UsageServiceVoidResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::parse::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use super::{convert, parse, sealed_days, sellables, usage_history};
use crate::app::App;
use crate::app::ingest_together::ingest_together;
use crate::app::ingest_usage::Ingested;
use crate::app::read_usage;
use crate::app::report_keys::report_keys;
use crate::app::report_points::report_points;
use crate::app::seal_day::seal_day;

/// Acks that wait for a slow reader; then the stream is not read any further.
const ACKS_WAITING_MAX: usize = 8;

pub struct Room {
    pub app: App,
    pub draining: CancellationToken,
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A batch that is empty or too large is refused as a whole.
fn check_batch(field: &str, records: usize, bytes: usize) -> Result<(), Violations> {
    let mut violations = Violations::new();
    if !(1..=BATCH_RECORDS_MAX).contains(&records) {
        violations.add(field, format!("must be 1 to {BATCH_RECORDS_MAX}, and are {records}"));
    }
    if bytes > BATCH_BYTES_MAX {
        violations.add(field, format!("must be at most {BATCH_BYTES_MAX} bytes, and are {bytes}"));
    }
    violations.into_result(Some(()))
}

async fn take(app: &App, caller: &str, records: Vec<UsageRecord>) -> Result<Ingested, Status> {
    let bytes = records.iter().map(prost::Message::encoded_len).sum();
    check_batch("records", records.len(), bytes)?;
    let parsed = records.into_iter().map(parse::record).collect();
    Ok(ingest_together(app, caller, parsed).await.map_err(|failure| failure.map(Refusal::from))?)
}

/// Answers batch after batch until the sender ends, an error ends the stream, or the service drains.
async fn answer_batches(
    app: App,
    caller: String,
    mut batches: Streaming<UsageServiceIngestRequest>,
    acks: mpsc::Sender<Result<UsageServiceIngestResponse, Status>>,
    draining: CancellationToken,
) {
    loop {
        let batch = tokio::select! {
            batch = batches.next() => batch,
            () = draining.cancelled() => {
                let drained = Refusal::new(Code::Unavailable, ErrorReason::Unavailable, "draining; go on elsewhere");
                // The sender may be gone; then nobody needs to be told.
                let _ = acks.send(Err(drained.with("dependency", "workspace-svc").into())).await;
                return;
            }
        };
        let answer = match batch {
            None => return,
            Some(Err(status)) => Err(status),
            Some(Ok(batch)) => {
                take(&app, &caller, batch.records).await.map(|ingested| UsageServiceIngestResponse {
                    batch_seq: batch.batch_seq,
                    accepted_count: count(ingested.accepted.len()),
                    duplicate_count: count(ingested.duplicates.len()),
                    late_count: count(ingested.late.len()),
                    refusals: convert::refusals(ingested.refusals),
                })
            }
        };
        let ended = answer.is_err();
        if acks.send(answer).await.is_err() || ended {
            return;
        }
    }
}

#[tonic::async_trait]
impl UsageService for Room {
    type IngestStream = Out<UsageServiceIngestResponse>;
    type StreamSealedDaysStream = Out<UsageServiceStreamSealedDaysResponse>;

    async fn ingest(
        &self,
        request: Request<Streaming<UsageServiceIngestRequest>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let caller = caller(&request)?.label();
        let (acks, stream) = mpsc::channel(ACKS_WAITING_MAX);
        tokio::spawn(answer_batches(
            self.app.clone(),
            caller,
            request.into_inner(),
            acks,
            self.draining.clone(),
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn ingest_batch(
        &self,
        request: Request<UsageServiceIngestBatchRequest>,
    ) -> Result<Response<UsageServiceIngestBatchResponse>, Status> {
        let caller = caller(&request)?.label();
        let ingested = take(&self.app, &caller, request.into_inner().records).await?;
        Ok(Response::new(UsageServiceIngestBatchResponse {
            accepted_count: count(ingested.accepted.len()),
            duplicate_count: count(ingested.duplicates.len()),
            late_count: count(ingested.late.len()),
            refusals: convert::refusals(ingested.refusals),
        }))
    }

    async fn report_points(
        &self,
        request: Request<UsageServiceReportPointsRequest>,
    ) -> Result<Response<UsageServiceReportPointsResponse>, Status> {
        let request = request.into_inner();
        check_batch("points", request.points.len(), request.encoded_len())?;
        let parsed = request.points.into_iter().map(parse::point).collect();
        let reported = report_points(&self.app, parsed).await?;
        Ok(Response::new(UsageServiceReportPointsResponse {
            accepted_count: count(reported.accepted_count),
            superseded_count: count(reported.superseded_count),
            late_count: count(reported.late_count),
            refusals: convert::refusals(reported.refusals),
        }))
    }

    async fn report_keys(
        &self,
        request: Request<UsageServiceReportKeysRequest>,
    ) -> Result<Response<UsageServiceReportKeysResponse>, Status> {
        let request = request.into_inner();
        check_batch("keys", request.keys.len(), request.encoded_len())?;
        let parsed: Vec<_> = request.keys.into_iter().map(parse::key).collect();
        let reported = report_keys(&self.app, &parsed).await?;
        Ok(Response::new(UsageServiceReportKeysResponse {
            new_count: count(reported.new_count),
            known_count: count(reported.known_count),
            late_count: count(reported.late_count),
            refusals: convert::refusals(reported.refusals),
        }))
    }

    async fn list_meters(
        &self,
        request: Request<UsageServiceListMetersRequest>,
    ) -> Result<Response<UsageServiceListMetersResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "meters");
        let after = page.as_ref().and_then(|page| page.after_as::<i16>(&mut violations));
        let page = violations.into_result(page)?;
        let meters = read_usage::meters(&self.app).await.map_err(Failure::<Refusal>::from)?;
        let limit = usize::try_from(page.fetch_limit()).unwrap_or(usize::MAX);
        let rows: Vec<_> = meters
            .0
            .iter()
            .filter(|meter| after.is_none_or(|after| meter.meter_id > after))
            .take(limit)
            .collect();
        let paged = page.close(rows, |meter| meter.meter_id.to_string());
        Ok(Response::new(UsageServiceListMetersResponse {
            meters: paged.rows.into_iter().map(|row| convert::meter(row, &meters)).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn lookup(
        &self,
        request: Request<UsageServiceLookupRequest>,
    ) -> Result<Response<UsageServiceLookupResponse>, Status> {
        Ok(Response::new(usage_history::lookup(&self.app, request.into_inner()).await?))
    }

    async fn void(
        &self,
        request: Request<UsageServiceVoidRequest>,
    ) -> Result<Response<UsageServiceVoidResponse>, Status> {
        Ok(Response::new(usage_history::void(&self.app, request).await?))
    }

    async fn query(
        &self,
        request: Request<UsageServiceQueryRequest>,
    ) -> Result<Response<UsageServiceQueryResponse>, Status> {
        Ok(Response::new(usage_history::query(&self.app, request.into_inner()).await?))
    }

    async fn get_overview(
        &self,
        request: Request<UsageServiceGetOverviewRequest>,
    ) -> Result<Response<UsageServiceGetOverviewResponse>, Status> {
        Ok(Response::new(usage_history::get_overview(&self.app, request.into_inner()).await?))
    }

    async fn import_sealed_day(
        &self,
        request: Request<UsageServiceImportSealedDayRequest>,
    ) -> Result<Response<UsageServiceImportSealedDayResponse>, Status> {
        Ok(Response::new(usage_history::import_sealed_day(&self.app, request.into_inner()).await?))
    }

    async fn set_sellable_items(
        &self,
        request: Request<UsageServiceSetSellableItemsRequest>,
    ) -> Result<Response<UsageServiceSetSellableItemsResponse>, Status> {
        Ok(Response::new(sellables::set(&self.app, request.into_inner()).await?))
    }

    async fn list_suspect_usage(
        &self,
        request: Request<UsageServiceListSuspectUsageRequest>,
    ) -> Result<Response<UsageServiceListSuspectUsageResponse>, Status> {
        Ok(Response::new(usage_history::list_suspect_usage(&self.app, request.into_inner()).await?))
    }

    async fn seal_day(
        &self,
        request: Request<UsageServiceSealDayRequest>,
    ) -> Result<Response<UsageServiceSealDayResponse>, Status> {
        let mut violations = Violations::new();
        let day = violations.date("usage_date", request.get_ref().usage_date.as_ref());
        let day = violations.into_result(day)?;
        let manifest = seal_day(&self.app, day).await?;
        Ok(Response::new(UsageServiceSealDayResponse { manifest: Some(convert::manifest(&manifest)) }))
    }

    async fn stream_sealed_days(
        &self,
        request: Request<UsageServiceStreamSealedDaysRequest>,
    ) -> Result<Response<Self::StreamSealedDaysStream>, Status> {
        let stream = sealed_days::stream(&self.app, request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn list_seal_failures(
        &self,
        request: Request<UsageServiceListSealFailuresRequest>,
    ) -> Result<Response<UsageServiceListSealFailuresResponse>, Status> {
        Ok(Response::new(sealed_days::list_failures(&self.app, request.into_inner()).await?))
    }

    async fn list_late_usage(
        &self,
        request: Request<UsageServiceListLateUsageRequest>,
    ) -> Result<Response<UsageServiceListLateUsageResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let day = violations.date("usage_date", request.usage_date.as_ref());
        let filters = format!("late {:?}", request.usage_date);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (day, page) = violations.into_result(day.zip(page))?;
        let rows = read_usage::late_usage(&self.app, day, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |(id, _)| id.to_string());
        let late_usage = paged.rows.into_iter().map(|(workspace_id, late)| LateUsage {
            workspace_id: workspace_id.to_string(),
            record_count: late.records,
            point_count: late.points,
            key_count: late.keys,
            void_count: late.voids,
        });
        let late_usage = late_usage.collect();
        Ok(Response::new(UsageServiceListLateUsageResponse {
            late_usage,
            next_page_token: paged.next_page_token,
        }))
    }
}
