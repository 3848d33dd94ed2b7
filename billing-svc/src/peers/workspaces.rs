//! workspace-svc: what an account is to a workspace.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::guard::Standing;
use chassis::id::WorkspaceId;
use chassis::peer::{PeerChannel, silence};
use tallystick_proto::workspace::v1::WorkspaceServiceGetStandingRequest;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;

/// The client.
#[derive(Clone)]
pub struct Workspaces(WorkspaceServiceClient<PeerChannel>);

impl Workspaces {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(WorkspaceServiceClient::new(channel))
    }

    /// What the account is to the workspace.
    pub async fn standing<R>(&self, user: User, id: WorkspaceId) -> Result<Standing, Failure<R>> {
        let request =
            WorkspaceServiceGetStandingRequest { workspace_id: id.to_string(), account_id: user.to_string() };
        let answer = self.0.clone().get_standing(request).await;
        let answer =
            answer.map_err(|status| Failure::Transient(silence("workspace-svc", &status)))?.into_inner();
        Ok(Standing {
            holds: false,
            owns: answer.owns,
            pays: answer.pays,
            administers: answer.administers,
            views: answer.views,
            reads_bills: answer.reads_bills,
        })
    }
}
