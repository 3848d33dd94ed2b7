//! `ConsoleAccountService`

use chassis::failure::Failure;
use chassis::id::ConsoleAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::account::v1::console_account_service_server::ConsoleAccountService;
use tallystick_proto::account::v1::{
    ConsoleAccountServiceChangeEmailRequest, ConsoleAccountServiceChangeEmailResponse,
    ConsoleAccountServiceChangePhoneRequest, ConsoleAccountServiceChangePhoneResponse,
    ConsoleAccountServiceCloseRequest, ConsoleAccountServiceCloseResponse,
    ConsoleAccountServiceGetByEmailRequest, ConsoleAccountServiceGetByEmailResponse,
    ConsoleAccountServiceGetRequest, ConsoleAccountServiceGetResponse, ConsoleAccountServiceListRequest,
    ConsoleAccountServiceListResponse, ConsoleAccountServiceUpdateRequest,
    ConsoleAccountServiceUpdateResponse,
};
use tonic::{Request, Response, Status};

use super::{codes, convert};
use crate::app::change_contact::{self, Contact};
use crate::app::{App, close_account, read_accounts, update_account};
use crate::domain::email::Email;
use crate::domain::phone::Phone;

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl ConsoleAccountService for Room {
    async fn get(
        &self,
        request: Request<ConsoleAccountServiceGetRequest>,
    ) -> Result<Response<ConsoleAccountServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<ConsoleAccountId>("console_account_id", &request.get_ref().console_account_id);
        let id = violations.into_result(id)?;
        let found = read_accounts::console_account(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let account = found.ok_or_else(|| Refusal::not_found("console account", id))?;
        let console_account = Some(convert::console_account(&account));
        Ok(Response::new(ConsoleAccountServiceGetResponse { console_account }))
    }

    async fn list(
        &self,
        request: Request<ConsoleAccountServiceListRequest>,
    ) -> Result<Response<ConsoleAccountServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "console_accounts");
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_accounts::console_accounts(&self.app, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.console_account_id.to_string());
        Ok(Response::new(ConsoleAccountServiceListResponse {
            console_accounts: paged.rows.iter().map(convert::console_account).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn get_by_email(
        &self,
        request: Request<ConsoleAccountServiceGetByEmailRequest>,
    ) -> Result<Response<ConsoleAccountServiceGetByEmailResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let site = violations.check("site", Site::from_wire(request.site));
        let email = violations.parse::<Email>("email", &request.email);
        let (site, email) = violations.into_result(site.zip(email))?;
        let found = read_accounts::console_account_of(&self.app, site, &email).await;
        let found = found.map_err(Failure::<Refusal>::from)?;
        let account = found.ok_or_else(|| Refusal::not_found("console account", &email))?;
        let console_account = Some(convert::console_account(&account));
        Ok(Response::new(ConsoleAccountServiceGetByEmailResponse { console_account }))
    }

    async fn update(
        &self,
        request: Request<ConsoleAccountServiceUpdateRequest>,
    ) -> Result<Response<ConsoleAccountServiceUpdateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<ConsoleAccountId>("console_account_id", &request.console_account_id);
        let name = violations.text("display_name", &request.display_name, 100);
        let (request_id, (id, name)) = violations.into_result(request_id.zip(id.zip(name)))?;
        let method = "ConsoleAccountService/Update";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::renamed);
        let outcome = update_account::rename_console_account(&self.app, &once, id, name).await?;
        respond(outcome, convert::renamed)
    }

    async fn close(
        &self,
        request: Request<ConsoleAccountServiceCloseRequest>,
    ) -> Result<Response<ConsoleAccountServiceCloseResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<ConsoleAccountId>("console_account_id", &request.console_account_id);
        let (request_id, id) = violations.into_result(request_id.zip(id))?;
        let method = "ConsoleAccountService/Close";
        let answer = convert::console_closed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        respond(close_account::close_console_account(&self.app, &once, id).await?, answer)
    }

    async fn change_email(
        &self,
        request: Request<ConsoleAccountServiceChangeEmailRequest>,
    ) -> Result<Response<ConsoleAccountServiceChangeEmailResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<ConsoleAccountId>("console_account_id", &request.console_account_id);
        let email = violations.parse::<Email>("new_email", &request.new_email);
        let old = codes::proof(&mut violations, "old_email_code", request.old_email_code.as_ref());
        let new = codes::proof(&mut violations, "new_email_code", request.new_email_code.as_ref());
        let ((request_id, id), (email, (old, new))) =
            violations.into_result(request_id.zip(id).zip(email.zip(old.zip(new))))?;
        let method = "ConsoleAccountService/ChangeEmail";
        let answer = convert::console_email_changed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        let contact = Contact::Email(email, Some(old), new);
        respond(change_contact::change_console_contact(&self.app, &once, id, &contact).await?, answer)
    }

    async fn change_phone(
        &self,
        request: Request<ConsoleAccountServiceChangePhoneRequest>,
    ) -> Result<Response<ConsoleAccountServiceChangePhoneResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<ConsoleAccountId>("console_account_id", &request.console_account_id);
        let phone = violations.parse::<Phone>("new_phone", &request.new_phone);
        let code = codes::proof(&mut violations, "email_code", request.email_code.as_ref());
        let ((request_id, id), (phone, code)) =
            violations.into_result(request_id.zip(id).zip(phone.zip(code)))?;
        let method = "ConsoleAccountService/ChangePhone";
        let answer = convert::console_phone_changed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        let contact = Contact::Phone(phone, code);
        respond(change_contact::change_console_contact(&self.app, &once, id, &contact).await?, answer)
    }
}
