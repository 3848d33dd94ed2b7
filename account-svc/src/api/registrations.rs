//! `RegistrationService`

use chassis::failure::Failure;
use chassis::id::RegistrationId;
use chassis::money::Currency;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tallystick_proto::account::v1::registration_service_server::RegistrationService;
use tallystick_proto::account::v1::{
    RegistrationServiceGetRequest, RegistrationServiceGetResponse, RegistrationServiceRegisterRequest,
    RegistrationServiceRegisterResponse, RegistrationServiceResumeRequest, RegistrationServiceResumeResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::app::register::{self, Asked, Register};
use crate::app::{App, read_accounts};
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::username::Username;

pub struct Room {
    pub app: App,
}

fn password(violations: &mut Violations, text: &str) -> Option<Password> {
    if text.is_empty() { None } else { violations.parse("password", text) }
}

fn command(violations: &mut Violations, request: &RegistrationServiceRegisterRequest) -> Option<Register> {
    let site = violations.check("site", Site::from_wire(request.site));
    let email = violations.parse::<Email>("email", &request.email);
    let username = violations.parse::<Username>("username", &request.username);
    let currency = match request.currency_code.as_str() {
        "" => site.map(Site::default_currency),
        code => violations.parse::<Currency>("currency_code", code),
    };
    let workspace_name = violations.text("workspace_name", &request.workspace_name, 100);
    let password = password(violations, &request.password);
    Some(Register {
        password,
        site: site?,
        email: email?,
        username: username?,
        currency: currency?,
        workspace_name: workspace_name?,
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
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<RegistrationId>("registration_id", &request.registration_id);
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
