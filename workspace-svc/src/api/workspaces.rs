//! `WorkspaceService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, is_word};
use tallystick_proto::common::v1::Caller as CallerKind;
use tallystick_proto::workspace::v1::workspace_service_server::WorkspaceService;
use tallystick_proto::workspace::v1::{
    WorkspaceServiceCreateRequest, WorkspaceServiceCreateResponse, WorkspaceServiceDissolveRequest,
    WorkspaceServiceDissolveResponse, WorkspaceServiceGetRequest, WorkspaceServiceGetResponse,
    WorkspaceServiceGetStandingRequest, WorkspaceServiceGetStandingResponse, WorkspaceServiceListRequest,
    WorkspaceServiceListResponse, WorkspaceServiceLockAllRequest, WorkspaceServiceLockAllResponse,
    WorkspaceServiceLockRequest, WorkspaceServiceLockResponse, WorkspaceServiceRestoreRequest,
    WorkspaceServiceRestoreResponse, WorkspaceServiceSetRetentionRequest,
    WorkspaceServiceSetRetentionResponse, WorkspaceServiceTransferOwnershipRequest,
    WorkspaceServiceTransferOwnershipResponse, WorkspaceServiceUnlockAllRequest,
    WorkspaceServiceUnlockAllResponse, WorkspaceServiceUnlockRequest, WorkspaceServiceUnlockResponse,
    WorkspaceServiceUpdateRequest, WorkspaceServiceUpdateResponse, WorkspaceServiceUpgradeRequest,
    WorkspaceServiceUpgradeResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{convert_workspace as convert, parse};
use crate::app::bind_workspace::upgrade_workspace;
use crate::app::change_retention::change_retention;
use crate::app::change_workspace::{
    describe_workspace, dissolve_workspace, restore_workspace, transfer_ownership,
};
use crate::app::create_workspace::{NewWorkspace, create_workspace};
use crate::app::judge_standing::standing;
use crate::app::lock_workspace::{lock_all, lock_workspace, unlock_all, unlock_workspace};
use crate::app::{App, read_workspaces};
use crate::domain::retention::DataType;
use crate::domain::workspace::Language;

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl WorkspaceService for Room {
    async fn create(
        &self,
        request: Request<WorkspaceServiceCreateRequest>,
    ) -> Result<Response<WorkspaceServiceCreateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let owner = &request.owner_console_account_id;
        let owner = violations.parse::<ConsoleAccountId>("owner_console_account_id", owner);
        let name = violations.text("name", &request.name, 100);
        let site = violations.check("site", Site::from_wire(request.site));
        let language = parse::language(&mut violations, request.language);
        let ((request_id, owner), ((name, site), language)) =
            violations.into_result(request_id.zip(owner).zip(name.zip(site).zip(language)))?;
        let wanted = NewWorkspace { owner, name, site, language: language.unwrap_or(Language::Zh) };
        let method = "WorkspaceService/Create";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::created);
        let outcome = create_workspace(&self.app, &once, wanted).await?;
        respond(outcome, convert::created)
    }

    async fn get(
        &self,
        request: Request<WorkspaceServiceGetRequest>,
    ) -> Result<Response<WorkspaceServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.get_ref().workspace_id);
        let id = violations.into_result(id)?;
        let found = read_workspaces::workspace(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let configured = found.ok_or_else(|| Refusal::not_found("workspace", id))?;
        let workspace = Some(convert::workspace(&configured));
        Ok(Response::new(WorkspaceServiceGetResponse { workspace }))
    }

    async fn list(
        &self,
        request: Request<WorkspaceServiceListRequest>,
    ) -> Result<Response<WorkspaceServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let owner = match request.owner_console_account_id.as_str() {
            "" => None,
            id => violations.parse("owner_console_account_id", id),
        };
        let payer = match request.billing_account_id.as_str() {
            "" => None,
            id => violations.parse("billing_account_id", id),
        };
        let filter =
            format!("workspaces {} {}", request.owner_console_account_id, request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_workspaces::workspaces(&self.app, owner, payer, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.workspace.workspace_id.to_string());
        Ok(Response::new(WorkspaceServiceListResponse {
            workspaces: paged.rows.iter().map(convert::workspace).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn set_retention(
        &self,
        request: Request<WorkspaceServiceSetRetentionRequest>,
    ) -> Result<Response<WorkspaceServiceSetRetentionResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let data_type = violations.check("data_type", parse::data_type(request.data_type));
        let is_index = request.dimension.is_empty()
            || data_type == Some(DataType::Logs) && is_word(&request.dimension, 1, 64);
        if !is_index {
            violations.add(
                "dimension",
                "must be empty, or for logs an index: at most 64 of lower-case letters, digits, \"_\", \"-\"",
            );
        }
        let ((request_id, id), data_type) = violations.into_result(request_id.zip(id).zip(data_type))?;
        let method = "WorkspaceService/SetRetention";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::changed);
        let outcome =
            change_retention(&self.app, &once, id, data_type, request.dimension.clone(), request.days)
                .await?;
        respond(outcome, convert::changed)
    }

    async fn get_standing(
        &self,
        request: Request<WorkspaceServiceGetStandingRequest>,
    ) -> Result<Response<WorkspaceServiceGetStandingResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let user = request.account_id.parse::<User>();
        let user =
            violations.check("account_id", user.map_err(|_| "must be \"acnt_\" or \"bacc_\" and a UUID"));
        let (id, user) = violations.into_result(id.zip(user))?;
        let standing = standing(&self.app, user, id).await.map_err(Failure::<Refusal>::from)?;
        Ok(Response::new(WorkspaceServiceGetStandingResponse {
            owns: standing.owns,
            pays: standing.pays,
            administers: standing.administers,
            views: standing.views,
            reads_bills: standing.reads_bills,
        }))
    }

    async fn update(
        &self,
        request: Request<WorkspaceServiceUpdateRequest>,
    ) -> Result<Response<WorkspaceServiceUpdateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let name = match request.name.as_str() {
            "" => None,
            name => violations.text("name", name, 100),
        };
        let language = parse::language(&mut violations, request.language);
        if request.name.is_empty() && language == Some(None) {
            violations.add("name", "must be given, or language");
        }
        let ((request_id, id), language) = violations.into_result(request_id.zip(id).zip(language))?;
        let method = "WorkspaceService/Update";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::described);
        respond(describe_workspace(&self.app, &once, id, name, language).await?, convert::described)
    }

    async fn upgrade(
        &self,
        request: Request<WorkspaceServiceUpgradeRequest>,
    ) -> Result<Response<WorkspaceServiceUpgradeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let code = request.billing_account_code.as_ref();
        let payer = parse::agreement(&mut violations, caller.user, &request.billing_account_id, code);
        let ((request_id, id), payer) = violations.into_result(request_id.zip(id).zip(payer))?;
        let method = "WorkspaceService/Upgrade";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::upgraded);
        respond(upgrade_workspace(&self.app, &once, id, payer).await?, convert::upgraded)
    }

    async fn lock(
        &self,
        request: Request<WorkspaceServiceLockRequest>,
    ) -> Result<Response<WorkspaceServiceLockResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let cause = violations.check("cause", parse::lock_cause(request.cause));
        let only_of = match request.billing_account_id.as_str() {
            "" => Some(None),
            id => violations.parse::<BillingAccountId>("billing_account_id", id).map(Some),
        };
        let ((request_id, id), (cause, only_of)) =
            violations.into_result(request_id.zip(id).zip(cause.zip(only_of)))?;
        let method = "WorkspaceService/Lock";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::locked);
        respond(lock_workspace(&self.app, &once, id, cause, only_of).await?, convert::locked)
    }

    async fn unlock(
        &self,
        request: Request<WorkspaceServiceUnlockRequest>,
    ) -> Result<Response<WorkspaceServiceUnlockResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let any = request.cause == 0 && caller.kind == CallerKind::Operator;
        let cause = if any { None } else { violations.check("cause", parse::lock_cause(request.cause)) };
        let (request_id, id) = violations.into_result(request_id.zip(id))?;
        let method = "WorkspaceService/Unlock";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::unlocked);
        respond(unlock_workspace(&self.app, &once, id, cause).await?, convert::unlocked)
    }

    async fn lock_all(
        &self,
        request: Request<WorkspaceServiceLockAllRequest>,
    ) -> Result<Response<WorkspaceServiceLockAllResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let except =
            parse::workspaces(&mut violations, "except_workspace_ids", &request.except_workspace_ids);
        let ((request_id, id), except) = violations.into_result(request_id.zip(id).zip(except))?;
        let method = "WorkspaceService/LockAll";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::all_locked);
        respond(lock_all(&self.app, &once, id, &except).await?, convert::all_locked)
    }

    async fn unlock_all(
        &self,
        request: Request<WorkspaceServiceUnlockAllRequest>,
    ) -> Result<Response<WorkspaceServiceUnlockAllResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let (request_id, id) = violations.into_result(request_id.zip(id))?;
        let method = "WorkspaceService/UnlockAll";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::all_unlocked);
        respond(unlock_all(&self.app, &once, id).await?, convert::all_unlocked)
    }

    async fn dissolve(
        &self,
        request: Request<WorkspaceServiceDissolveRequest>,
    ) -> Result<Response<WorkspaceServiceDissolveResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let (request_id, id) = violations.into_result(request_id.zip(id))?;
        let method = "WorkspaceService/Dissolve";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::dissolved);
        respond(dissolve_workspace(&self.app, &once, id).await?, convert::dissolved)
    }

    async fn restore(
        &self,
        request: Request<WorkspaceServiceRestoreRequest>,
    ) -> Result<Response<WorkspaceServiceRestoreResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let (request_id, id) = violations.into_result(request_id.zip(id))?;
        let method = "WorkspaceService/Restore";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::restored);
        respond(restore_workspace(&self.app, &once, id).await?, convert::restored)
    }

    async fn transfer_ownership(
        &self,
        request: Request<WorkspaceServiceTransferOwnershipRequest>,
    ) -> Result<Response<WorkspaceServiceTransferOwnershipResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let owner = &request.new_owner_console_account_id;
        let owner = violations.parse::<ConsoleAccountId>("new_owner_console_account_id", owner);
        let ((request_id, id), owner) = violations.into_result(request_id.zip(id).zip(owner))?;
        let method = "WorkspaceService/TransferOwnership";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::transferred);
        respond(transfer_ownership(&self.app, &once, id, owner).await?, convert::transferred)
    }
}
