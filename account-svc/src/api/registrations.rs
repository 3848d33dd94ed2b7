//! `RegistrationService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::RegistrationId;
use chassis::money::Currency;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tallystick_proto::account::v1::registration::{BillingChoice as WireChoice, Plan as WirePlan};
use tallystick_proto::account::v1::registration_service_server::RegistrationService;
use tallystick_proto::account::v1::{
    RegistrationServiceGetRequest, RegistrationServiceGetResponse, RegistrationServiceRegisterRequest,
    RegistrationServiceRegisterResponse, RegistrationServiceResumeRequest, RegistrationServiceResumeResponse,
};
use tonic::{Request, Response, Status};

use super::{codes, convert};
use crate::app::register::{self, Asked, Billing, Register};
use crate::app::{App, read_accounts};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::registration::Plan;
use crate::domain::username::Username;

/// As settlement-svc takes them.
const LANDING_TOKEN_CHARACTERS_MAX: usize = 2_000;

pub struct Room {
    pub app: App,
}

fn password(violations: &mut Violations, text: &str) -> Option<Password> {
    if text.is_empty() { None } else { violations.parse("password", text) }
}

fn plan(violations: &mut Violations, value: i32) -> Option<Plan> {
    match WirePlan::try_from(value) {
        Ok(WirePlan::Unspecified | WirePlan::Commercial) => Some(Plan::Commercial),
        Ok(WirePlan::Trial) => Some(Plan::Trial),
        Err(_) => {
            violations.add("plan", "must be a known value");
            None
        }
    }
}

/// Where the billing account comes from, with what that needs and nothing else.
fn billing(
    violations: &mut Violations,
    request: &RegistrationServiceRegisterRequest,
    plan: Option<Plan>,
) -> Option<Billing> {
    let choice = match WireChoice::try_from(request.billing_choice) {
        Ok(choice) => choice,
        Err(_) => {
            violations.add("billing_choice", "must be a known value");
            return None;
        }
    };
    if choice != WireChoice::Existing && request.billing_account_code.is_some() {
        violations.add("billing_account_code", "must be absent unless the billing account exists");
    }
    match choice {
        WireChoice::Unspecified | WireChoice::Create => {
            violations.parse("username", &request.username).map(Billing::Create)
        }
        WireChoice::Existing => {
            let username = violations.parse::<Username>("username", &request.username);
            let code = request.billing_account_code.as_ref();
            let code = codes::proof(violations, "billing_account_code", code);
            if !request.currency_code.is_empty() {
                violations.add("currency_code", "must be empty: the billing account has its own");
            }
            username.zip(code).map(|(username, code)| Billing::Existing(username, code))
        }
        WireChoice::None => {
            if !request.username.is_empty() {
                violations.add("username", "must be empty without a billing account");
            }
            if plan == Some(Plan::Commercial) {
                violations.add("billing_choice", "must name a billing account unless the plan is a trial");
            }
            Some(Billing::None)
        }
    }
}

fn landing_token(violations: &mut Violations, text: &str, plan: Option<Plan>) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if text.len() > LANDING_TOKEN_CHARACTERS_MAX || !text.is_ascii() {
        violations.add("landing_token", "must be at most 2,000 ASCII characters");
    }
    if plan == Some(Plan::Trial) {
        violations.add("plan", "must be commercial for what was bought on a marketplace");
    }
    Some(text.to_owned())
}

fn command(violations: &mut Violations, request: &RegistrationServiceRegisterRequest) -> Option<Register> {
    let site = violations.check("site", Site::from_wire(request.site));
    let email = violations.parse::<Email>("email", &request.email);
    let plan = plan(violations, request.plan);
    let billing = billing(violations, request, plan);
    let currency = match request.currency_code.as_str() {
        "" => None,
        code => violations.parse::<Currency>("currency_code", code),
    };
    let workspace_name = violations.text("workspace_name", &request.workspace_name, 100);
    let password = password(violations, &request.password);
    let language = codes::language(violations, request.language);
    let landing_token = landing_token(violations, &request.landing_token, plan);
    let email_code = request.email_code.as_ref();
    let email_code = email_code.and_then(|code| codes::proof(violations, "email_code", Some(code)));
    Some(Register {
        password,
        site: site?,
        email: email?,
        email_code,
        billing: billing?,
        currency,
        workspace_name: workspace_name?,
        language: language?,
        plan: plan?,
        landing_token,
    })
}

#[tonic::async_trait]
impl RegistrationService for Room {
    async fn register(
        &self,
        request: Request<RegistrationServiceRegisterRequest>,
    ) -> Result<Response<RegistrationServiceRegisterResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let command = command(&mut violations, &request);
        let (request_id, command) = violations.into_result(request_id.zip(command))?;
        // A fast hash of a password must not be kept: a repeat is recognised by everything else.
        let asked = RegistrationServiceRegisterRequest { password: String::new(), ..request };
        let hash = Sha256::digest(asked.encode_to_vec()).into();
        let asked = Asked { caller: caller.label(), request_id, hash };
        let registration = register::register(&self.app, &asked, command).await?;
        let registration = Some(convert::registration(&registration));
        Ok(Response::new(RegistrationServiceRegisterResponse { registration }))
    }

    async fn get(
        &self,
        request: Request<RegistrationServiceGetRequest>,
    ) -> Result<Response<RegistrationServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id = violations.parse::<RegistrationId>("registration_id", &request.get_ref().registration_id);
        let id = violations.into_result(id)?;
        let found = read_accounts::registration(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let registration = found.ok_or_else(|| Refusal::not_found("registration", id))?;
        let registration = Some(convert::registration(&registration));
        Ok(Response::new(RegistrationServiceGetResponse { registration }))
    }

    async fn resume(
        &self,
        request: Request<RegistrationServiceResumeRequest>,
    ) -> Result<Response<RegistrationServiceResumeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<RegistrationId>("registration_id", &request.registration_id);
        if !request.password.is_empty() && matches!(caller.user, Some(User::Billing(_))) {
            violations
                .add("password", "must be empty: the console account's first password is not its payer's");
        }
        let username = match request.username.as_str() {
            "" => None,
            text => violations.parse::<Username>("username", text),
        };
        let password = password(&mut violations, &request.password);
        let id = violations.into_result(id)?;
        let registration = register::resume(&self.app, id, username, password).await?;
        let registration = Some(convert::registration(&registration));
        Ok(Response::new(RegistrationServiceResumeResponse { registration }))
    }
}
