//! `SettlementMethodService`

use chassis::auth::Caller;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId};
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::settlement::v1::settlement_method::Kind;
use tallystick_proto::settlement::v1::settlement_method_service_server::SettlementMethodService;
use tallystick_proto::settlement::v1::{
    SettlementMethodServiceActivateRequest, SettlementMethodServiceActivateResponse,
    SettlementMethodServiceChangeRequest, SettlementMethodServiceChangeResponse,
    SettlementMethodServiceGetRequest, SettlementMethodServiceGetResponse,
    SettlementMethodServiceListChangesRequest, SettlementMethodServiceListChangesResponse,
    SettlementMethodServiceSetAnyMethodRequest, SettlementMethodServiceSetAnyMethodResponse,
};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::cloud_accounts as convert;
use crate::app::change_method::{By, Wanted, activate_method, change_method, set_any_method};
use crate::app::{App, read_methods};

pub struct Room {
    pub app: App,
}

fn by(caller: &Caller) -> By {
    By { label: caller.label(), is_operator: caller.user.is_none() }
}

fn wanted(violations: &mut Violations, kind: i32, subscription_id: &str) -> Option<Wanted> {
    match Kind::try_from(kind) {
        Ok(Kind::BillingAccount) => {
            if !subscription_id.is_empty() {
                violations.add("subscription_id", "must be empty for the billing account");
            }
            Some(Wanted::BillingAccount)
        }
        Ok(Kind::CloudAccount) => {
            violations.parse("subscription_id", subscription_id).map(Wanted::Subscription)
        }
        Ok(Kind::Unspecified) | Err(_) => {
            violations.add("kind", "must be a known value, not unspecified");
            None
        }
    }
}

#[tonic::async_trait]
impl SettlementMethodService for Room {
    async fn get(
        &self,
        request: Request<SettlementMethodServiceGetRequest>,
    ) -> Result<Response<SettlementMethodServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.get_ref().workspace_id);
        let id = violations.into_result(id)?;
        let method = read_methods::method(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let settlement_method = Some(convert::method(&method));
        Ok(Response::new(SettlementMethodServiceGetResponse { settlement_method }))
    }

    async fn change(
        &self,
        request: Request<SettlementMethodServiceChangeRequest>,
    ) -> Result<Response<SettlementMethodServiceChangeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let wanted = wanted(&mut violations, request.kind, &request.subscription_id);
        let ((request_id, id), wanted) = violations.into_result(request_id.zip(id).zip(wanted))?;
        let method = "SettlementMethodService/Change";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::changed);
        respond(change_method(&self.app, &once, id, wanted, &by(&caller)).await?, convert::changed)
    }

    async fn list_changes(
        &self,
        request: Request<SettlementMethodServiceListChangesRequest>,
    ) -> Result<Response<SettlementMethodServiceListChangesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let filter = format!("methods {}", request.workspace_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as::<i64>(&mut violations));
        let after = after.and_then(|micros| {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
            let time = time.ok().filter(|time| (1970..3000).contains(&time.year()));
            violations.check("page_token", time.ok_or("must be one that this list answered"))
        });
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_methods::methods(&self.app, id, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| {
            let from = row.method.as_ref().map(|method| method.effective_from.unix_timestamp_nanos() / 1_000);
            from.map(|micros| micros.to_string()).unwrap_or_default()
        });
        Ok(Response::new(SettlementMethodServiceListChangesResponse {
            settlement_methods: paged.rows.iter().map(convert::method).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn set_any_method(
        &self,
        request: Request<SettlementMethodServiceSetAnyMethodRequest>,
    ) -> Result<Response<SettlementMethodServiceSetAnyMethodResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let reason = violations.text("reason", &request.reason, 200);
        let ((request_id, id), reason) = violations.into_result(request_id.zip(id).zip(reason))?;
        let answer = |allowed: &bool| SettlementMethodServiceSetAnyMethodResponse { allowed: *allowed };
        let method = "SettlementMethodService/SetAnyMethod";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        respond(set_any_method(&self.app, &once, id, request.allowed, &reason).await?, answer)
    }

    async fn activate(
        &self,
        request: Request<SettlementMethodServiceActivateRequest>,
    ) -> Result<Response<SettlementMethodServiceActivateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let payer = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let subscription = violations.parse::<SubscriptionId>("subscription_id", &request.subscription_id);
        let ((request_id, id), (payer, subscription)) =
            violations.into_result(request_id.zip(id).zip(payer.zip(subscription)))?;
        let method = "SettlementMethodService/Activate";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::activated);
        let outcome = activate_method(&self.app, &once, id, payer, subscription, &by(&caller)).await?;
        respond(outcome, convert::activated)
    }
}
