//! What accounts are to workspaces, for services that do not own them: workspace-svc says it, and its answers are kept for seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tallystick_proto::workspace::v1::WorkspaceServiceGetStandingRequest;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tokio::sync::Mutex;

use crate::auth::User;
use crate::failure::Failure;
use crate::guard::Standing;
use crate::id::WorkspaceId;
use crate::peer::{PeerChannel, silence};

/// An answer of workspace-svc is kept so long: by then a former owner has lost the workspace.
const KEPT_MAX: Duration = Duration::from_secs(10);
/// More answers are not kept: the old ones go, and if none is old, all.
const ANSWERS_MAX: usize = 10_000;

type Answers = HashMap<(User, WorkspaceId), (Instant, Standing)>;

/// The client, and the answers of the last seconds.
#[derive(Clone)]
pub struct Standings {
    client: WorkspaceServiceClient<PeerChannel>,
    kept: Arc<Mutex<Answers>>,
}

impl Standings {
    /// Over a channel to workspace-svc.
    pub fn new(channel: PeerChannel) -> Self {
        Self { client: WorkspaceServiceClient::new(channel), kept: Arc::default() }
    }

    /// What the account is to the workspace.
    pub async fn of_workspace<R>(&self, user: User, id: WorkspaceId) -> Result<Standing, Failure<R>> {
        let known = self.kept.lock().await.get(&(user, id)).copied();
        if let Some((_, standing)) = known.filter(|(asked, _)| asked.elapsed() < KEPT_MAX) {
            return Ok(standing);
        }
        // Its age counts from before the question: what changed while it was answered is not kept longer.
        let asked = Instant::now();
        let standing = self.ask(user, id).await?;
        let mut kept = self.kept.lock().await;
        if kept.len() >= ANSWERS_MAX {
            kept.retain(|_, (asked, _)| asked.elapsed() < KEPT_MAX);
        }
        if kept.len() >= ANSWERS_MAX {
            kept.clear();
        }
        kept.insert((user, id), (asked, standing));
        Ok(standing)
    }

    async fn ask<R>(&self, user: User, id: WorkspaceId) -> Result<Standing, Failure<R>> {
        let request =
            WorkspaceServiceGetStandingRequest { workspace_id: id.to_string(), account_id: user.to_string() };
        let answer = self.client.clone().get_standing(request).await;
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
