//! `BillRunService`

use chassis::failure::Failure;
use chassis::id::RunId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::billing::v1::bill_run_service_server::BillRunService;
use tallystick_proto::billing::v1::{
    BillRunServiceCancelRequest, BillRunServiceCancelResponse, BillRunServiceCreateRequest,
    BillRunServiceCreateResponse, BillRunServiceGetRequest, BillRunServiceGetResponse,
    BillRunServiceListFailuresRequest, BillRunServiceListFailuresResponse, BillRunServiceListRequest,
    BillRunServiceListResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert;
use crate::app::start_bill_run::{cancel_bill_run, start_bill_run};
use crate::app::{App, read_bills};

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl BillRunService for Room {
    async fn create(
        &self,
        request: Request<BillRunServiceCreateRequest>,
    ) -> Result<Response<BillRunServiceCreateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let day = violations.date("usage_date", request.usage_date.as_ref());
        let (request_id, day) = violations.into_result(request_id.zip(day))?;
        let method = "BillRunService/Create";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::started);
        let outcome = start_bill_run(&self.app, &once, day).await?;
        respond(outcome, convert::started)
    }

    async fn get(
        &self,
        request: Request<BillRunServiceGetRequest>,
    ) -> Result<Response<BillRunServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<RunId>("run_id", &request.get_ref().run_id);
        let id = violations.into_result(id)?;
        let found = read_bills::run(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let run = found.ok_or_else(|| Refusal::not_found("bill run", id))?;
        Ok(Response::new(BillRunServiceGetResponse { bill_run: Some(convert::run(&run)) }))
    }

    async fn list(
        &self,
        request: Request<BillRunServiceListRequest>,
    ) -> Result<Response<BillRunServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "bill_runs");
        let before = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_bills::runs(&self.app, before, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |run| run.run_id.to_string());
        Ok(Response::new(BillRunServiceListResponse {
            bill_runs: paged.rows.iter().map(convert::run).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn cancel(
        &self,
        request: Request<BillRunServiceCancelRequest>,
    ) -> Result<Response<BillRunServiceCancelResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<RunId>("run_id", &request.get_ref().run_id);
        let id = violations.into_result(id)?;
        let run = cancel_bill_run(&self.app, id).await?;
        Ok(Response::new(BillRunServiceCancelResponse { bill_run: Some(convert::run(&run)) }))
    }

    async fn list_failures(
        &self,
        request: Request<BillRunServiceListFailuresRequest>,
    ) -> Result<Response<BillRunServiceListFailuresResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<RunId>("run_id", &request.run_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &request.run_id);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_bills::failures(&self.app, id, after, page.fetch_limit()).await;
        let rows =
            rows.map_err(Failure::<Refusal>::from)?.ok_or_else(|| Refusal::not_found("bill run", id))?;
        let paged = page.close(rows, |failure| failure.workspace_id.to_string());
        Ok(Response::new(BillRunServiceListFailuresResponse {
            failures: paged.rows.into_iter().map(convert::failure).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
