//! `PackageService`

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, date, timestamp};
use tallystick_proto::billing::v1 as wire;
use tallystick_proto::billing::v1::package::Kind as WireKind;
use tallystick_proto::billing::v1::package_service_server::PackageService;
use tallystick_proto::billing::v1::{
    PackageServiceListRequest, PackageServiceListResponse, PackageServiceRegisterRequest,
    PackageServiceRegisterResponse,
};
use tallystick_proto::common::v1::ErrorReason;
use tonic::{Code, Request, Response, Status};

use crate::app::App;
use crate::app::register_package::{PackageRuns, packages, register_package};
use crate::domain::package::{Kind, Package};

pub struct Room {
    pub app: App,
}

fn message(package: &Package) -> wire::Package {
    let kind = match package.kind {
        Kind::Startup => WireKind::Startup,
        Kind::Growth => WireKind::Growth,
        Kind::Enterprise => WireKind::Enterprise,
    };
    wire::Package {
        order_id: package.order_id.to_string(),
        billing_account_id: package.billing_account_id.to_string(),
        kind: kind.into(),
        start_date: Some(date(package.start_date)),
        end_date: Some(date(package.end_date())),
        create_time: Some(timestamp(package.created_at)),
    }
}

fn registered(package: &Package) -> PackageServiceRegisterResponse {
    PackageServiceRegisterResponse { package: Some(message(package)) }
}

fn kind(value: i32) -> Result<Kind, &'static str> {
    match WireKind::try_from(value) {
        Ok(WireKind::Startup) => Ok(Kind::Startup),
        Ok(WireKind::Growth) => Ok(Kind::Growth),
        Ok(WireKind::Enterprise) => Ok(Kind::Enterprise),
        Ok(WireKind::Unspecified) | Err(_) => Err("must be a known value, not unspecified"),
    }
}

impl From<PackageRuns> for Refusal {
    fn from(PackageRuns(id): PackageRuns) -> Self {
        let message = format!("{id} has a package that has not ended");
        Self::new(Code::FailedPrecondition, ErrorReason::PackageRunning, message).with("rule", "YP-2")
    }
}

#[tonic::async_trait]
impl PackageService for Room {
    async fn register(
        &self,
        request: Request<PackageServiceRegisterRequest>,
    ) -> Result<Response<PackageServiceRegisterResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let kind = violations.check("kind", kind(request.kind));
        let contract = violations.text("contract", &request.contract, 200);
        let ((request_id, id), (kind, contract)) =
            violations.into_result(request_id.zip(id).zip(kind.zip(contract)))?;
        let method = "PackageService/Register";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, registered);
        respond(register_package(&self.app, &once, id, kind, &contract).await?, registered)
    }

    async fn list(
        &self,
        request: Request<PackageServiceListRequest>,
    ) -> Result<Response<PackageServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let running = request.running_date.as_ref();
        let running = running.and_then(|day| violations.date("running_date", Some(day)));
        let filter = format!("packages {} {running:?}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = packages(&self.app, id, running, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.order_id.to_string());
        Ok(Response::new(PackageServiceListResponse {
            packages: paged.rows.iter().map(message).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
