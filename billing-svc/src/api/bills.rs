//! `BillService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillId, BillingAccountId, SettlementId, WorkspaceId};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::billing::v1 as wire;
use tallystick_proto::billing::v1::bill_service_server::BillService;
use tallystick_proto::billing::v1::{
    BillServiceCountRequest, BillServiceCountResponse, BillServiceGetRequest, BillServiceGetResponse,
    BillServiceListRequest, BillServiceListResponse, BillServiceRecordSettlementRequest,
    BillServiceRecordSettlementResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::app::read_bills::Of;
use crate::app::record_settlement::record_settlement;
use crate::app::{App, read_bills};
use crate::domain::bill::BillSettlement;

pub struct Room {
    pub app: App,
}

fn settlement(violations: &mut Violations, value: Option<&wire::BillSettlement>) -> Option<BillSettlement> {
    let Some(value) = value else {
        violations.add("settlement", "must be given");
        return None;
    };
    let id = violations.parse::<SettlementId>("settlement.settlement_id", &value.settlement_id);
    let mut money = |field: &str, value| violations.money(&format!("settlement.{field}"), value);
    let voucher = money("voucher_amount", value.voucher_amount.as_ref());
    let card = money("card_amount", value.card_amount.as_ref());
    let cash = money("cash_amount", value.cash_amount.as_ref());
    let cloud = money("cloud_amount", value.cloud_amount.as_ref());
    let owed = money("owed_amount", value.owed_amount.as_ref());
    let settled_at = violations.time("settlement.settle_time", value.settle_time.as_ref());
    Some(BillSettlement {
        settlement_id: Some(id?),
        voucher: voucher?,
        card: card?,
        cash: cash?,
        cloud: cloud?,
        owed: owed?,
        settled_at: settled_at?,
    })
}

/// Exactly one of the two ids is given. Who pays now does not see what another has paid.
fn of(violations: &mut Violations, request: &BillServiceListRequest, user: Option<User>) -> Option<Of> {
    let of_workspace = |id| match user {
        Some(User::Billing(payer)) => Of::PaidBy(id, payer),
        Some(User::Console(_)) | None => Of::Workspace(id),
    };
    match (request.workspace_id.as_str(), request.billing_account_id.as_str()) {
        ("", "") => {
            violations.add("workspace_id", "or billing_account_id must be given");
            None
        }
        (id, "") => violations.parse::<WorkspaceId>("workspace_id", id).map(of_workspace),
        ("", id) => violations.parse::<BillingAccountId>("billing_account_id", id).map(Of::Payer),
        _ => {
            violations.add("billing_account_id", "must be empty when workspace_id is given");
            None
        }
    }
}

#[tonic::async_trait]
impl BillService for Room {
    async fn get(
        &self,
        request: Request<BillServiceGetRequest>,
    ) -> Result<Response<BillServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<BillId>("bill_id", &request.get_ref().bill_id);
        let id = violations.into_result(id)?;
        let found = read_bills::bill(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let bill = found.ok_or_else(|| Refusal::not_found("bill", id))?;
        Ok(Response::new(BillServiceGetResponse { bill: Some(convert::bill(&bill)) }))
    }

    async fn list(
        &self,
        request: Request<BillServiceListRequest>,
    ) -> Result<Response<BillServiceListResponse>, Status> {
        let user = caller(&request)?.user;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let of = of(&mut violations, &request, user);
        let day = match &request.usage_date {
            None => None,
            Some(date) => violations.date("usage_date", Some(date)),
        };
        let filters =
            format!("{} {} {:?}", request.workspace_id, request.billing_account_id, request.usage_date);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let before = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (of, page) = violations.into_result(of.zip(page))?;
        let rows = read_bills::bills(&self.app, of, day, before, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |(bill, _)| bill.bill_id.to_string());
        Ok(Response::new(BillServiceListResponse {
            bills: paged.rows.iter().map(convert::bill).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn count(
        &self,
        request: Request<BillServiceCountRequest>,
    ) -> Result<Response<BillServiceCountResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<BillingAccountId>("billing_account_id", &request.get_ref().billing_account_id);
        let id = violations.into_result(id)?;
        let counted = read_bills::count(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let (daily_bill_count, unsettled_bill_count) = counted;
        Ok(Response::new(BillServiceCountResponse { daily_bill_count, unsettled_bill_count }))
    }

    async fn record_settlement(
        &self,
        request: Request<BillServiceRecordSettlementRequest>,
    ) -> Result<Response<BillServiceRecordSettlementResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let workspace_id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let bill_id = violations.parse::<BillId>("bill_id", &request.bill_id);
        let settlement = settlement(&mut violations, request.settlement.as_ref());
        let ((workspace_id, bill_id), settlement) =
            violations.into_result(workspace_id.zip(bill_id).zip(settlement))?;
        record_settlement(&self.app, workspace_id, bill_id, &settlement).await?;
        Ok(Response::new(BillServiceRecordSettlementResponse {}))
    }
}
