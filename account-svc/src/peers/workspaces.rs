//! workspace-svc: makes and binds the workspace of a registration.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::peer::{PeerChannel, is_refusal, silence};
use chassis::site::Site;
use chassis::status::reason_of;
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{BindingServiceBindRequest, WorkspaceServiceCreateRequest};
use tonic::Status;
use uuid::Uuid;

const PEER: &str = "workspace-svc";

/// workspace-svc refused for good.
#[derive(Debug)]
pub struct Refused {
    /// Who refused.
    pub service: &'static str,
    /// Its reason.
    pub reason: String,
}

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
        name: &str,
        site: Site,
    ) -> Result<WorkspaceId, Failure<Refused>> {
        let request = WorkspaceServiceCreateRequest {
            request_id: request_id.to_string(),
            owner_console_account_id: owner.to_string(),
            name: name.to_owned(),
            site: site.to_wire(),
            language: 0,
        };
        let answer = self.workspaces.clone().create(request).await.map_err(failure)?.into_inner();
        let workspace = answer.workspace.unwrap_or_default();
        workspace
            .workspace_id
            .parse()
            .map_err(|_| Failure::fatal(format!("{PEER} answered without a workspace id")))
    }

    /// Binds it, once per request id.
    pub async fn bind(
        &self,
        request_id: Uuid,
        workspace: WorkspaceId,
        payer: BillingAccountId,
    ) -> Result<(), Failure<Refused>> {
        let request = BindingServiceBindRequest {
            request_id: request_id.to_string(),
            workspace_id: workspace.to_string(),
            billing_account_id: payer.to_string(),
            billing_account_code: None,
        };
        self.bindings.clone().bind(request).await.map(drop).map_err(failure)
    }
}

fn failure(status: Status) -> Failure<Refused> {
    if is_refusal(&status) {
        let reason = reason_of(&status).unwrap_or_else(|| format!("{:?}", status.code()));
        Failure::Rejected(Refused { service: PEER, reason })
    } else {
        Failure::Transient(silence(PEER, &status))
    }
}
