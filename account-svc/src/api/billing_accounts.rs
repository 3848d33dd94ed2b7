//! `BillingAccountService`

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::money::Currency;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::account::v1::billing_account_service_server::BillingAccountService;
use tallystick_proto::account::v1::{
    BillingAccountServiceCreateRequest, BillingAccountServiceCreateResponse, BillingAccountServiceGetRequest,
    BillingAccountServiceGetResponse, BillingAccountServiceListRequest, BillingAccountServiceListResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert;
use crate::app::create_billing_account::create_billing_account;
use crate::app::{App, read_accounts};
use crate::domain::username::Username;

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl BillingAccountService for Room {
    async fn create(
        &self,
        request: Request<BillingAccountServiceCreateRequest>,
    ) -> Result<Response<BillingAccountServiceCreateResponse>, Status> {
        let caller = chassis::wire::caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let username = violations.parse::<Username>("username", &request.username);
        let currency = violations.parse::<Currency>("currency_code", &request.currency_code);
        let (request_id, (username, currency)) =
            violations.into_result(request_id.zip(username.zip(currency)))?;
        let method = "BillingAccountService/Create";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::created);
        let outcome = create_billing_account(&self.app, &once, username, currency).await?;
        respond(outcome, convert::created)
    }

    async fn get(
        &self,
        request: Request<BillingAccountServiceGetRequest>,
    ) -> Result<Response<BillingAccountServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<BillingAccountId>("billing_account_id", &request.get_ref().billing_account_id);
        let id = violations.into_result(id)?;
        let found = read_accounts::billing_account(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let account = found.ok_or_else(|| Refusal::not_found("billing account", id))?;
        let billing_account = Some(convert::billing_account(&account));
        Ok(Response::new(BillingAccountServiceGetResponse { billing_account }))
    }

    async fn list(
        &self,
        request: Request<BillingAccountServiceListRequest>,
    ) -> Result<Response<BillingAccountServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "billing_accounts");
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_accounts::billing_accounts(&self.app, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.billing_account_id.to_string());
        Ok(Response::new(BillingAccountServiceListResponse {
            billing_accounts: paged.rows.iter().map(convert::billing_account).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
