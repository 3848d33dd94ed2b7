//! `BindingService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, date};
use tallystick_proto::workspace::v1::binding_service_server::BindingService;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, BindingServiceBindResponse, BindingServiceGetRequest,
    BindingServiceGetResponse, BindingServiceListRequest, BindingServiceListResponse,
    BindingServiceRebindRequest, BindingServiceRebindResponse, BindingServiceRetireRequest,
    BindingServiceRetireResponse, BindingServiceUnbindRequest, BindingServiceUnbindResponse,
    BindingServiceUnretireRequest, BindingServiceUnretireResponse,
};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{convert_workspace as convert, parse};
use crate::app::bind_workspace::bind_workspace;
use crate::app::change_binding::{rebind_workspace, unbind_workspace};
use crate::app::retire_account::{retire_account, unretire_account};
use crate::app::{App, read_workspaces};

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl BindingService for Room {
    async fn bind(
        &self,
        request: Request<BindingServiceBindRequest>,
    ) -> Result<Response<BindingServiceBindResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let workspace = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let code = request.billing_account_code.as_ref();
        let payer = parse::agreement(&mut violations, caller.user, &request.billing_account_id, code);
        let (request_id, (workspace, payer)) =
            violations.into_result(request_id.zip(workspace.zip(payer)))?;
        let method = "BindingService/Bind";
        let once = Idempotent::new(workspace.uuid(), &caller, method, request_id, &request, convert::bound);
        let outcome = bind_workspace(&self.app, &once, workspace, payer).await?;
        respond(outcome, convert::bound)
    }

    async fn get(
        &self,
        request: Request<BindingServiceGetRequest>,
    ) -> Result<Response<BindingServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.get_ref().workspace_id);
        let id = violations.into_result(id)?;
        let found = read_workspaces::binding(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let binding = found.ok_or_else(|| Refusal::not_found("binding of workspace", id))?;
        Ok(Response::new(BindingServiceGetResponse { binding: Some(convert::binding(&binding)) }))
    }

    async fn list(
        &self,
        request: Request<BindingServiceListRequest>,
    ) -> Result<Response<BindingServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let page =
            Page::parse(&mut violations, request.page_size, &request.page_token, &request.workspace_id);
        let after = page.as_ref().and_then(|page| page.after_as::<i64>(&mut violations));
        let after = after.and_then(|seconds| {
            let time = OffsetDateTime::from_unix_timestamp(seconds);
            violations.check("page_token", time.map_err(|_| "must be one that this list answered"))
        });
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_workspaces::bindings(&self.app, id, after, page.fetch_limit()).await;
        let rows =
            rows.map_err(Failure::<Refusal>::from)?.ok_or_else(|| Refusal::not_found("workspace", id))?;
        let paged = page.close(rows, |row| row.effective_from.unix_timestamp().to_string());
        Ok(Response::new(BindingServiceListResponse {
            bindings: paged.rows.iter().map(convert::binding).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn rebind(
        &self,
        request: Request<BindingServiceRebindRequest>,
    ) -> Result<Response<BindingServiceRebindResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let workspace = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let code = request.billing_account_code.as_ref();
        let payer = parse::agreement(&mut violations, caller.user, &request.billing_account_id, code);
        let (request_id, (id, payer)) = violations.into_result(request_id.zip(workspace.zip(payer)))?;
        let method = "BindingService/Rebind";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::rebound);
        respond(rebind_workspace(&self.app, &once, id, payer).await?, convert::rebound)
    }

    async fn unbind(
        &self,
        request: Request<BindingServiceUnbindRequest>,
    ) -> Result<Response<BindingServiceUnbindResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let workspace = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let (request_id, id) = violations.into_result(request_id.zip(workspace))?;
        let method = "BindingService/Unbind";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::unbound);
        respond(unbind_workspace(&self.app, &once, id).await?, convert::unbound)
    }

    async fn retire(
        &self,
        request: Request<BindingServiceRetireRequest>,
    ) -> Result<Response<BindingServiceRetireResponse>, Status> {
        let retired = retire_account(&self.app, account(&request.get_ref().account_id)?).await?;
        Ok(Response::new(BindingServiceRetireResponse {
            last_usage_date: retired.last_day.map(date),
            sealed_day_count: retired.sealed_day_count,
        }))
    }

    async fn unretire(
        &self,
        request: Request<BindingServiceUnretireRequest>,
    ) -> Result<Response<BindingServiceUnretireResponse>, Status> {
        let account = account(&request.get_ref().account_id)?;
        unretire_account(&self.app, account).await.map_err(Failure::<Refusal>::from)?;
        Ok(Response::new(BindingServiceUnretireResponse {}))
    }
}

fn account(text: &str) -> Result<User, Violations> {
    let mut violations = Violations::new();
    let user = text.parse::<User>().map_err(|_| "must be \"acnt_\" or \"bacc_\" and a UUID");
    let user = violations.check("account_id", user);
    violations.into_result(user)
}
