//! `BillingAccountService`

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::money::Currency;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::account::v1::billing_account_service_server::BillingAccountService;
use tallystick_proto::account::v1::{
    BillingAccountServiceChangeEmailRequest, BillingAccountServiceChangeEmailResponse,
    BillingAccountServiceChangePhoneRequest, BillingAccountServiceChangePhoneResponse,
    BillingAccountServiceCloseRequest, BillingAccountServiceCloseResponse,
    BillingAccountServiceCreateRequest, BillingAccountServiceCreateResponse,
    BillingAccountServiceGetByUsernameRequest, BillingAccountServiceGetByUsernameResponse,
    BillingAccountServiceGetRequest, BillingAccountServiceGetResponse, BillingAccountServiceListRequest,
    BillingAccountServiceListResponse, BillingAccountServiceUpdateRequest,
    BillingAccountServiceUpdateResponse, BillingAccountServiceVerifyEnterpriseRequest,
    BillingAccountServiceVerifyEnterpriseResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{codes, convert};
use crate::app::change_contact::{self, Contact};
use crate::app::create_billing_account::create_billing_account;
use crate::app::update_account::{self, ProfileChange};
use crate::app::{App, close_account, read_accounts};
use crate::domain::billing_account::TaxpayerNumber;
use crate::domain::email::Email;
use crate::domain::phone::Phone;
use crate::domain::username::Username;

const TICKET_CHARACTERS_MAX: usize = 200;

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl BillingAccountService for Room {
    async fn create(
        &self,
        request: Request<BillingAccountServiceCreateRequest>,
    ) -> Result<Response<BillingAccountServiceCreateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let username = violations.parse::<Username>("username", &request.username);
        let currency = violations.parse::<Currency>("currency_code", &request.currency_code);
        let email = match request.email.as_str() {
            "" => None,
            text => violations.parse::<Email>("email", text),
        };
        let (request_id, (username, currency)) =
            violations.into_result(request_id.zip(username.zip(currency)))?;
        let method = "BillingAccountService/Create";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::created);
        let outcome = create_billing_account(&self.app, &once, username, currency, email).await?;
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

    async fn get_by_username(
        &self,
        request: Request<BillingAccountServiceGetByUsernameRequest>,
    ) -> Result<Response<BillingAccountServiceGetByUsernameResponse>, Status> {
        let mut violations = Violations::new();
        let username = violations.parse::<Username>("username", &request.get_ref().username);
        let username = violations.into_result(username)?;
        let found = read_accounts::billing_account_of(&self.app, &username).await;
        let found = found.map_err(Failure::<Refusal>::from)?;
        let account = found.ok_or_else(|| Refusal::not_found("billing account", &username))?;
        let billing_account = Some(convert::billing_account(&account));
        Ok(Response::new(BillingAccountServiceGetByUsernameResponse { billing_account }))
    }

    async fn update(
        &self,
        request: Request<BillingAccountServiceUpdateRequest>,
    ) -> Result<Response<BillingAccountServiceUpdateResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let change = profile_change(&mut violations, &request);
        let (request_id, (id, change)) = violations.into_result(request_id.zip(id.zip(change)))?;
        let method = "BillingAccountService/Update";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::updated);
        let outcome = update_account::change_profile(&self.app, &once, id, change).await?;
        respond(outcome, convert::updated)
    }

    async fn close(
        &self,
        request: Request<BillingAccountServiceCloseRequest>,
    ) -> Result<Response<BillingAccountServiceCloseResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let ticket = violations.text("ticket", &request.ticket, TICKET_CHARACTERS_MAX);
        let (request_id, (id, ticket)) = violations.into_result(request_id.zip(id.zip(ticket)))?;
        let method = "BillingAccountService/Close";
        let answer = convert::billing_closed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        respond(close_account::close_billing_account(&self.app, &once, id, &ticket).await?, answer)
    }

    async fn change_email(
        &self,
        request: Request<BillingAccountServiceChangeEmailRequest>,
    ) -> Result<Response<BillingAccountServiceChangeEmailResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let email = violations.parse::<Email>("new_email", &request.new_email);
        let old = request
            .old_email_code
            .as_ref()
            .and_then(|code| codes::proof(&mut violations, "old_email_code", Some(code)));
        let new = codes::proof(&mut violations, "new_email_code", request.new_email_code.as_ref());
        let ((request_id, id), (email, new)) =
            violations.into_result(request_id.zip(id).zip(email.zip(new)))?;
        let method = "BillingAccountService/ChangeEmail";
        let answer = convert::billing_email_changed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        let contact = Contact::Email(email, old, new);
        respond(change_contact::change_billing_contact(&self.app, &once, id, &contact).await?, answer)
    }

    async fn change_phone(
        &self,
        request: Request<BillingAccountServiceChangePhoneRequest>,
    ) -> Result<Response<BillingAccountServiceChangePhoneResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let phone = violations.parse::<Phone>("new_phone", &request.new_phone);
        let code = codes::proof(&mut violations, "email_code", request.email_code.as_ref());
        let ((request_id, id), (phone, code)) =
            violations.into_result(request_id.zip(id).zip(phone.zip(code)))?;
        let method = "BillingAccountService/ChangePhone";
        let answer = convert::billing_phone_changed;
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, answer);
        let contact = Contact::Phone(phone, code);
        respond(change_contact::change_billing_contact(&self.app, &once, id, &contact).await?, answer)
    }

    async fn verify_enterprise(
        &self,
        request: Request<BillingAccountServiceVerifyEnterpriseRequest>,
    ) -> Result<Response<BillingAccountServiceVerifyEnterpriseResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let given = request.enterprise.clone().unwrap_or_default();
        let company = violations.text("enterprise.company_name", &given.company_name, 200);
        let number = violations.parse::<TaxpayerNumber>("enterprise.taxpayer_number", &given.taxpayer_number);
        if given.verify_time.is_some() {
            violations.add("enterprise.verify_time", "must be absent: the service sets it");
        }
        let evidence = violations.text("evidence", &request.evidence, 500);
        let ((request_id, id), (enterprise, evidence)) =
            violations.into_result(request_id.zip(id).zip(company.zip(number).zip(evidence)))?;
        let method = "BillingAccountService/VerifyEnterprise";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::verified);
        let outcome = update_account::verify_enterprise(&self.app, &once, id, enterprise, &evidence).await?;
        respond(outcome, convert::verified)
    }
}

/// The fields that the mask names; a value may be empty, which takes back what was said.
fn profile_change(
    violations: &mut Violations,
    request: &BillingAccountServiceUpdateRequest,
) -> Option<ProfileChange> {
    let given = request.profile.clone().unwrap_or_default();
    let paths = request.update_mask.clone().unwrap_or_default().paths;
    if paths.is_empty() {
        violations.add("update_mask", "must name at least one field");
    }
    let mut fields = Vec::new();
    for path in paths {
        let (value, max): (String, usize) = match path.as_str() {
            "company_name" => (given.company_name.clone(), 200),
            "industry" => (given.industry.clone(), 100),
            "region" => (given.region.clone(), 100),
            "company_description" => (given.company_description.clone(), 1_000),
            "contact_name" => (given.contact_name.clone(), 100),
            _ => {
                violations.add("update_mask", format!("{path:?} is no field of the profile"));
                continue;
            }
        };
        if value.is_empty() || violations.text(&format!("profile.{path}"), &value, max).is_some() {
            fields.push((path, value));
        }
    }
    Some(Box::new(move |profile| {
        for (path, value) in &fields {
            let place = match path.as_str() {
                "company_name" => &mut profile.company_name,
                "industry" => &mut profile.industry,
                "region" => &mut profile.region,
                "company_description" => &mut profile.company_description,
                _ => &mut profile.contact_name,
            };
            place.clone_from(value);
        }
    }))
}
