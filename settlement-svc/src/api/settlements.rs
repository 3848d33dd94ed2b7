//! `SettlementService`

use chassis::failure::Failure;
use chassis::id::{BillId, BillingAccountId, WorkspaceId};
use chassis::money::Money;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, digest};
use tallystick_proto::settlement::v1::settlement_service_server::SettlementService;
use tallystick_proto::settlement::v1::{
    SettleLine, SettlementServiceGetRequest, SettlementServiceGetResponse, SettlementServiceListRequest,
    SettlementServiceListResponse, SettlementServiceSettleRequest, SettlementServiceSettleResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::app::settle_bill::settle_bill;
use crate::app::{App, read_wallet};
use crate::domain::deduction::Line;
use crate::domain::settlement::Bill;

/// billing-svc issues no bill with more.
const LINES_MAX: usize = 20_000;

pub struct Room {
    pub app: App,
}

fn lines(violations: &mut Violations, lines: &[SettleLine]) -> Option<Vec<Line>> {
    if lines.len() > LINES_MAX {
        violations.add("lines", format!("must be at most {LINES_MAX}, and are {}", lines.len()));
        return None;
    }
    let mut parsed = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let field = format!("lines[{index}].amount");
        let amount = violations.money(&field, line.amount.as_ref());
        if amount.is_some_and(Money::is_negative) {
            violations.add(format!("{field}.amount"), "must not be negative");
        }
        parsed.push(amount.map(|amount| Line { amount, is_restricted: line.restricted }));
    }
    parsed.into_iter().collect()
}

fn bill(violations: &mut Violations, request: &SettlementServiceSettleRequest) -> Option<Bill> {
    let bill_id = violations.parse::<BillId>("bill_id", &request.bill_id);
    let payer = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
    let workspace_id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
    let usage_date = violations.date("usage_date", request.usage_date.as_ref());
    let total = violations.money("total", request.total.as_ref());
    let lines = lines(violations, &request.lines);
    let digest = violations.check("bill_digest", digest(&request.bill_digest));
    let (total, lines) = (total?, lines?);
    if Money::sum(total.currency(), lines.iter().map(|line| line.amount)) != Ok(total) {
        violations.add("total", "must be the sum of the lines");
    }
    Some(Bill {
        bill_id: bill_id?,
        billing_account_id: payer?,
        workspace_id: workspace_id?,
        usage_date: usage_date?,
        total,
        lines,
        digest: digest?,
    })
}

#[tonic::async_trait]
impl SettlementService for Room {
    async fn settle(
        &self,
        request: Request<SettlementServiceSettleRequest>,
    ) -> Result<Response<SettlementServiceSettleResponse>, Status> {
        let mut violations = Violations::new();
        let bill = bill(&mut violations, request.get_ref());
        let bill = violations.into_result(bill)?;
        let settlement = settle_bill(&self.app, &bill).await?;
        Ok(Response::new(SettlementServiceSettleResponse {
            settlement: Some(convert::settlement(&settlement)),
        }))
    }

    async fn get(
        &self,
        request: Request<SettlementServiceGetRequest>,
    ) -> Result<Response<SettlementServiceGetResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let payer = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let bill_id = violations.parse::<BillId>("bill_id", &request.bill_id);
        let (payer, bill_id) = violations.into_result(payer.zip(bill_id))?;
        let found =
            read_wallet::settlement(&self.app, payer, bill_id).await.map_err(Failure::<Refusal>::from)?;
        let settlement = found.ok_or_else(|| Refusal::not_found("settlement of", bill_id))?;
        Ok(Response::new(SettlementServiceGetResponse { settlement: Some(convert::settlement(&settlement)) }))
    }

    async fn list(
        &self,
        request: Request<SettlementServiceListRequest>,
    ) -> Result<Response<SettlementServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let payer = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let filters = format!("settlements {}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (payer, page) = violations.into_result(payer.zip(page))?;
        let rows = read_wallet::settlements(&self.app, payer, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.settlement_id.to_string());
        Ok(Response::new(SettlementServiceListResponse {
            settlements: paged.rows.iter().map(convert::settlement).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
