//! `MemberService`

use chassis::failure::Failure;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::workspace::v1::member::Role as WireRole;
use tallystick_proto::workspace::v1::member_service_server::MemberService;
use tallystick_proto::workspace::v1::{
    MemberServiceAddRequest, MemberServiceAddResponse, MemberServiceListRequest, MemberServiceListResponse,
    MemberServiceRemoveRequest, MemberServiceRemoveResponse, MemberServiceReviewRequest,
    MemberServiceReviewResponse, MemberServiceSetRoleRequest, MemberServiceSetRoleResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert_workspace as convert;
use crate::app::{App, manage_members};
use crate::domain::member::{Role, Verdict};

pub struct Room {
    pub app: App,
}

fn role(violations: &mut Violations, role: i32, reads_bills: bool) -> Option<Role> {
    let role = match WireRole::try_from(role) {
        Ok(WireRole::Administrator) => Role::Administrator,
        Ok(WireRole::Standard) => Role::Standard,
        Ok(WireRole::ReadOnly) => Role::ReadOnly,
        Ok(WireRole::Custom) => Role::Custom { reads_bills },
        Ok(WireRole::Unspecified) | Err(_) => {
            violations.add("role", "must be a known value, not unspecified");
            return None;
        }
    };
    if reads_bills && !role.is_granted_bills() {
        violations.add("reads_bills", "must be false unless the role is custom");
        return None;
    }
    Some(role)
}

/// What every change names.
fn names(
    violations: &mut Violations,
    (request_id, workspace_id, account_id): (&str, &str, &str),
) -> Option<(Uuid, WorkspaceId, ConsoleAccountId)> {
    let request_id = violations.request_id(request_id);
    let workspace = violations.parse::<WorkspaceId>("workspace_id", workspace_id);
    let account = violations.parse::<ConsoleAccountId>("console_account_id", account_id);
    Some((request_id?, workspace?, account?))
}

#[tonic::async_trait]
impl MemberService for Room {
    async fn add(
        &self,
        request: Request<MemberServiceAddRequest>,
    ) -> Result<Response<MemberServiceAddResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let named = (&*request.request_id, &*request.workspace_id, &*request.console_account_id);
        let named = names(&mut violations, named);
        let role = role(&mut violations, request.role, request.reads_bills);
        let ((request_id, id, account), role) = violations.into_result(named.zip(role))?;
        let method = "MemberService/Add";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::member_added);
        let outcome = manage_members::add_member(&self.app, &once, id, account, role).await?;
        respond(outcome, convert::member_added)
    }

    async fn set_role(
        &self,
        request: Request<MemberServiceSetRoleRequest>,
    ) -> Result<Response<MemberServiceSetRoleResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let named = (&*request.request_id, &*request.workspace_id, &*request.console_account_id);
        let named = names(&mut violations, named);
        let role = role(&mut violations, request.role, request.reads_bills);
        let ((request_id, id, account), role) = violations.into_result(named.zip(role))?;
        let method = "MemberService/SetRole";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::role_set);
        let outcome = manage_members::set_role(&self.app, &once, id, account, role).await?;
        respond(outcome, convert::role_set)
    }

    async fn review(
        &self,
        request: Request<MemberServiceReviewRequest>,
    ) -> Result<Response<MemberServiceReviewResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let named = (&*request.request_id, &*request.workspace_id, &*request.console_account_id);
        let named = names(&mut violations, named);
        let (request_id, id, account) = violations.into_result(named)?;
        let verdict = if request.approve { Verdict::Approved } else { Verdict::Declined };
        let method = "MemberService/Review";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::reviewed);
        let outcome = manage_members::review_member(&self.app, &once, id, account, verdict).await?;
        respond(outcome, convert::reviewed)
    }

    async fn remove(
        &self,
        request: Request<MemberServiceRemoveRequest>,
    ) -> Result<Response<MemberServiceRemoveResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let named = (&*request.request_id, &*request.workspace_id, &*request.console_account_id);
        let named = names(&mut violations, named);
        let (request_id, id, account) = violations.into_result(named)?;
        let method = "MemberService/Remove";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::removed);
        let outcome = manage_members::remove_member(&self.app, &once, id, account).await?;
        respond(outcome, convert::removed)
    }

    async fn list(
        &self,
        request: Request<MemberServiceListRequest>,
    ) -> Result<Response<MemberServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let filter = format!("members {}", request.workspace_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = manage_members::members(&self.app, id, after, page.fetch_limit()).await;
        let rows =
            rows.map_err(Failure::<Refusal>::from)?.ok_or_else(|| Refusal::not_found("workspace", id))?;
        let paged = page.close(rows, |row| row.console_account_id.to_string());
        Ok(Response::new(MemberServiceListResponse {
            members: paged.rows.iter().map(convert::member).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
