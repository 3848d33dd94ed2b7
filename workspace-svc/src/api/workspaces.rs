//! `WorkspaceService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, is_word};
use tallystick_proto::workspace::v1::workspace_service_server::WorkspaceService;
use tallystick_proto::workspace::v1::{
    WorkspaceServiceCreateRequest, WorkspaceServiceCreateResponse, WorkspaceServiceGetRequest,
    WorkspaceServiceGetResponse, WorkspaceServiceGetStandingRequest, WorkspaceServiceGetStandingResponse,
    WorkspaceServiceListRequest, WorkspaceServiceListResponse, WorkspaceServiceSetRetentionRequest,
    WorkspaceServiceSetRetentionResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{convert, parse};
use crate::app::change_retention::change_retention;
use crate::app::create_workspace::create_workspace;
use crate::app::judge_standing::standing;
use crate::app::{App, read_workspaces};
use crate::domain::retention::DataType;

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
        let ((request_id, owner), (name, site)) =
            violations.into_result(request_id.zip(owner).zip(name.zip(site)))?;
        let method = "WorkspaceService/Create";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::created);
        let outcome = create_workspace(&self.app, &once, owner, name, site).await?;
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
        let workspace = Some(convert::workspace(&configured, read_workspaces::now(&self.app)));
        Ok(Response::new(WorkspaceServiceGetResponse { workspace }))
    }

    async fn list(
        &self,
        request: Request<WorkspaceServiceListRequest>,
    ) -> Result<Response<WorkspaceServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "workspaces");
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_workspaces::workspaces(&self.app, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.workspace.workspace_id.to_string());
        let now = read_workspaces::now(&self.app);
        Ok(Response::new(WorkspaceServiceListResponse {
            workspaces: paged.rows.iter().map(|row| convert::workspace(row, now)).collect(),
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
        Ok(Response::new(WorkspaceServiceGetStandingResponse { owns: standing.owns, pays: standing.pays }))
    }
}
