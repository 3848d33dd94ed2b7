//! `NotificationService`

use std::collections::BTreeMap;

use chassis::auth::User;
use chassis::id::WorkspaceId;
use chassis::idempotency::{Idempotent, respond};
use chassis::wire::{Violations, caller};
use tallystick_proto::account::v1::notification_service_server::NotificationService;
use tallystick_proto::account::v1::{
    MailParameter, MailTemplate, NotificationServiceSendRequest, NotificationServiceSendResponse,
};
use tonic::{Request, Response, Status};

use super::{codes, convert};
use crate::app::App;
use crate::app::send_mail::{WORKSPACE, send_mail};
use crate::domain::mail::Template;

pub struct Room {
    pub app: App,
}

fn template(violations: &mut Violations, value: i32) -> Option<Template> {
    match MailTemplate::try_from(value) {
        Ok(MailTemplate::BillIssued) => Some(Template::BillIssued),
        Ok(MailTemplate::LockCountdown) => Some(Template::LockCountdown),
        Ok(MailTemplate::Locked) => Some(Template::Locked),
        Ok(MailTemplate::Unlocked) => Some(Template::Unlocked),
        Ok(MailTemplate::MethodSwitched) => Some(Template::MethodSwitched),
        Ok(MailTemplate::HighConsumption) => Some(Template::HighConsumption),
        Ok(MailTemplate::WorkspaceActivated) => Some(Template::WorkspaceActivated),
        Ok(MailTemplate::Unspecified) | Err(_) => {
            violations.add("template", "must be a known value, not unspecified");
            None
        }
    }
}

fn parameters(violations: &mut Violations, given: &[MailParameter]) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for (index, parameter) in given.iter().enumerate() {
        let value = violations.text(&format!("parameters[{index}].value"), &parameter.value, 200);
        if let Some(value) = value
            && parameters.insert(parameter.name.clone(), value).is_some()
        {
            violations.add(format!("parameters[{index}].name"), "must be given once");
        }
    }
    parameters
}

#[tonic::async_trait]
impl NotificationService for Room {
    async fn send(
        &self,
        request: Request<NotificationServiceSendRequest>,
    ) -> Result<Response<NotificationServiceSendResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let user = request.account_id.parse::<User>();
        let user =
            violations.check("account_id", user.map_err(|_| "must be \"acnt_\" or \"bacc_\" and a UUID"));
        let template = template(&mut violations, request.template);
        let language = codes::language(&mut violations, request.language);
        let mut parameters = parameters(&mut violations, &request.parameters);
        let workspace = match request.workspace_id.as_str() {
            "" => Some(None),
            id => violations.parse::<WorkspaceId>("workspace_id", id).map(Some),
        };
        if let Some(Some(id)) = workspace
            && parameters.insert(WORKSPACE.to_owned(), id.to_string()).is_some()
        {
            violations.add("workspace_id", "must be empty when the parameter workspace is given");
        }
        if let Some(template) = template {
            violations.check("parameters", template.check(&parameters));
        }
        let ((request_id, user), ((template, workspace), language)) =
            violations.into_result(request_id.zip(user).zip(template.zip(workspace).zip(language)))?;
        let scope = match user {
            User::Console(id) => id.uuid(),
            User::Billing(id) => id.uuid(),
        };
        let method = "NotificationService/Send";
        let once = Idempotent::new(scope, &caller, method, request_id, &request, convert::mail_sent);
        let outcome = send_mail(&self.app, &once, user, (template, workspace), language, parameters).await?;
        respond(outcome, convert::mail_sent)
    }
}
