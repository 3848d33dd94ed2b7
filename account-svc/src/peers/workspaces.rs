//! workspace-svc: makes and binds the workspace of a registration, and keeps workspaces away from an account that is being closed.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::peer::{PeerChannel, is_refusal, silence};
use chassis::site::Site;
use chassis::status::Refused;
use chassis::wire::instant;
use tallystick_proto::common::v1::Language as WireLanguage;
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceBindRequest, BindingServiceRetireRequest, BindingServiceUnretireRequest,
    WorkspaceServiceCreateRequest, WorkspaceServiceGetRequest,
};
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::mail::Language;

const PEER: &str = "workspace-svc";

/// The client.
#[derive(Clone)]
pub struct Workspaces {
    workspaces: WorkspaceServiceClient<PeerChannel>,
    bindings: BindingServiceClient<PeerChannel>,
}

impl Workspaces {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            workspaces: WorkspaceServiceClient::new(channel.clone()),
            bindings: BindingServiceClient::new(channel),
        }
    }

    /// Makes a trial workspace, once per request id.
    pub async fn create(
        &self,
        request_id: Uuid,
        owner: ConsoleAccountId,
        (name, language): (&str, Language),
        site: Site,
    ) -> Result<WorkspaceId, Failure<Refused>> {
        let request = WorkspaceServiceCreateRequest {
            request_id: request_id.to_string(),
            owner_console_account_id: owner.to_string(),
            name: name.to_owned(),
            site: site.to_wire(),
            language: match language {
                Language::Zh => WireLanguage::Zh.into(),
                Language::En => WireLanguage::En.into(),
            },
        };
        let answer = self.workspaces.clone().create(request).await.map_err(failure)?.into_inner();
        let workspace = answer.workspace.unwrap_or_default();
        workspace
            .workspace_id
            .parse()
            .map_err(|_| Failure::fatal(format!("{PEER} answered without a workspace id")))
    }

    /// Binds it, once per request id. Answers from when on.
    pub async fn bind(
        &self,
        request_id: Uuid,
        workspace: WorkspaceId,
        payer: BillingAccountId,
    ) -> Result<OffsetDateTime, Failure<Refused>> {
        let request = BindingServiceBindRequest {
            request_id: request_id.to_string(),
            workspace_id: workspace.to_string(),
            billing_account_id: payer.to_string(),
            billing_account_code: None,
        };
        let answer = self.bindings.clone().bind(request).await.map_err(failure)?.into_inner();
        let start = answer.binding.unwrap_or_default().start_time;
        start
            .as_ref()
            .and_then(instant)
            .ok_or_else(|| Failure::fatal(format!("{PEER} answered without the start of a binding")))
    }

    /// What a workspace is called, and the language of mails about it; None when there is no such workspace.
    pub async fn called(&self, id: WorkspaceId) -> Result<Option<(String, Language)>, Failure<Refused>> {
        let request = WorkspaceServiceGetRequest { workspace_id: id.to_string() };
        match self.workspaces.clone().get(request).await {
            Ok(answer) => {
                let workspace = answer.into_inner().workspace.unwrap_or_default();
                let language = match workspace.language() {
                    WireLanguage::En => Language::En,
                    WireLanguage::Zh | WireLanguage::Unspecified => Language::Zh,
                };
                Ok(Some((workspace.name, language)))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failure(status)),
        }
    }

    /// Keeps workspaces away from an account. Answers how many of their sealed days are its to pay.
    pub async fn retire(&self, user: User) -> Result<i64, Failure<Refused>> {
        let request = BindingServiceRetireRequest { account_id: user.to_string() };
        let answer = self.bindings.clone().retire(request).await.map_err(failure)?;
        Ok(answer.into_inner().sealed_day_count)
    }

    /// Takes that back.
    pub async fn unretire(&self, user: User) -> Result<(), Failure<Refused>> {
        let request = BindingServiceUnretireRequest { account_id: user.to_string() };
        self.bindings.clone().unretire(request).await.map(drop).map_err(failure)
    }
}

fn failure(status: Status) -> Failure<Refused> {
    if is_refusal(&status) {
        Failure::Rejected(Refused::of(PEER, &status))
    } else {
        Failure::Transient(silence(PEER, &status))
    }
}
