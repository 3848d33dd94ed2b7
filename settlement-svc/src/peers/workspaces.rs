//! workspace-svc: where a workspace is and who pays for it; and hears that it is to be locked or unlocked.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::Currency;
use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::{PeerChannel, silence};
use chassis::site::Site;
use chassis::wire::instant;
use prost::Message as _;
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::lock::Cause;
use tallystick_proto::workspace::v1::workspace::State;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use tallystick_proto::workspace::v1::{
    BindingServiceGetRequest, WorkspaceServiceGetRequest, WorkspaceServiceLockAllRequest,
    WorkspaceServiceLockRequest, WorkspaceServiceUnlockAllRequest, WorkspaceServiceUnlockRequest,
};
use time::OffsetDateTime;
use tonic::Code;
use uuid::Uuid;

const PEER: &str = "workspace-svc";
/// The service that events of this kind are for.
pub const DESTINATION: &str = PEER;
const LOCK: &str = "Lock";
const UNLOCK: &str = "Unlock";
const LOCK_ALL: &str = "LockAll";
const UNLOCK_ALL: &str = "UnlockAll";

/// A workspace, as far as its method follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Where.
    pub site: Site,
    /// It is dissolved.
    pub is_dissolved: bool,
    /// Who pays, and in what; None: nobody.
    pub payer: Option<(BillingAccountId, Currency)>,
    /// When its payer changes, if that is settled.
    pub payer_until: Option<OffsetDateTime>,
}

/// The client.
#[derive(Clone)]
pub struct Workspaces {
    workspaces: WorkspaceServiceClient<PeerChannel>,
    bindings: BindingServiceClient<PeerChannel>,
}

/// What is to become of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The countdown begins.
    Lock,
    /// The lock is lifted.
    Unlock,
}

/// A lock for a subscription of this payer's, or an unlock, on its way to workspace-svc.
pub fn lock_event(order: Order, id: WorkspaceId, payer: Option<BillingAccountId>, request_id: Uuid) -> Event {
    let (request_id, workspace_id) = (request_id.to_string(), id.to_string());
    let cause = Cause::Subscription.into();
    let (kind, payload) = match order {
        Order::Lock => {
            let billing_account_id = payer.map(|payer| payer.to_string()).unwrap_or_default();
            let request = WorkspaceServiceLockRequest { request_id, workspace_id, cause, billing_account_id };
            (LOCK, request.encode_to_vec())
        }
        Order::Unlock => {
            (UNLOCK, WorkspaceServiceUnlockRequest { request_id, workspace_id, cause }.encode_to_vec())
        }
    };
    Event { destination: DESTINATION, aggregate_id: id.uuid(), kind, payload }
}

/// A workspace that its payer's arrears do not concern any more, in turn with what they lock.
pub fn leaves_arrears_event(id: WorkspaceId, payer: BillingAccountId, request_id: Uuid) -> Event {
    let (request_id, workspace_id) = (request_id.to_string(), id.to_string());
    let request = WorkspaceServiceUnlockRequest { request_id, workspace_id, cause: Cause::Arrears.into() };
    Event {
        destination: DESTINATION,
        aggregate_id: payer.uuid(),
        kind: UNLOCK,
        payload: request.encode_to_vec(),
    }
}

/// What a payer's arrears lock, or, paid, unlock, on its way to workspace-svc; but for what it pays for by cloud accounts. The payer is the aggregate: what it
/// owes and what it has paid arrive in turn.
pub fn arrears_event(
    order: Order,
    payer: BillingAccountId,
    except: &[WorkspaceId],
    request_id: Uuid,
) -> Event {
    let (request_id, billing_account_id) = (request_id.to_string(), payer.to_string());
    let (kind, payload) = match order {
        Order::Lock => {
            let except_workspace_ids = except.iter().map(ToString::to_string).collect();
            let request =
                WorkspaceServiceLockAllRequest { request_id, billing_account_id, except_workspace_ids };
            (LOCK_ALL, request.encode_to_vec())
        }
        Order::Unlock => {
            (UNLOCK_ALL, WorkspaceServiceUnlockAllRequest { request_id, billing_account_id }.encode_to_vec())
        }
    };
    Event { destination: DESTINATION, aggregate_id: payer.uuid(), kind, payload }
}

impl Workspaces {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            workspaces: WorkspaceServiceClient::new(channel.clone()),
            bindings: BindingServiceClient::new(channel),
        }
    }

    /// A workspace and its payer; None when there is no such workspace.
    pub async fn get<R>(&self, id: WorkspaceId) -> Result<Option<Workspace>, Failure<R>> {
        let request = WorkspaceServiceGetRequest { workspace_id: id.to_string() };
        let workspace = match self.workspaces.clone().get(request).await {
            Ok(answer) => answer.into_inner().workspace.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(Failure::Transient(silence(PEER, &status))),
        };
        let request = BindingServiceGetRequest { workspace_id: id.to_string() };
        let broken = |field: &str| Failure::fatal(format!("{PEER} answered {id} with a broken {field}"));
        let (payer, payer_until) = match self.bindings.clone().get(request).await {
            Ok(answer) => {
                let binding = answer.into_inner().binding.unwrap_or_default();
                let account = binding.billing_account_id.parse().map_err(|_| broken("billing_account_id"))?;
                let currency = binding.currency_code.parse().map_err(|_| broken("currency_code"))?;
                let until = binding.end_time.as_ref().and_then(instant);
                (Some((account, currency)), until)
            }
            Err(status) if status.code() == Code::NotFound => (None, None),
            Err(status) => return Err(Failure::Transient(silence(PEER, &status))),
        };
        let state = workspace.state();
        Ok(Some(Workspace {
            site: Site::from_wire(workspace.site).map_err(|_| broken("site"))?,
            is_dissolved: matches!(state, State::Dissolving | State::Dissolved),
            payer,
            payer_until,
        }))
    }

    /// Takes an event there.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        let never = |error: prost::DecodeError| Undelivered::Never(error.to_string());
        let mut client = self.workspaces.clone();
        let delivered = match kind {
            LOCK => {
                let request = WorkspaceServiceLockRequest::decode(payload).map_err(never)?;
                client.lock(request).await.map(drop)
            }
            UNLOCK => {
                let request = WorkspaceServiceUnlockRequest::decode(payload).map_err(never)?;
                client.unlock(request).await.map(drop)
            }
            LOCK_ALL => {
                let request = WorkspaceServiceLockAllRequest::decode(payload).map_err(never)?;
                client.lock_all(request).await.map(drop)
            }
            UNLOCK_ALL => {
                let request = WorkspaceServiceUnlockAllRequest::decode(payload).map_err(never)?;
                client.unlock_all(request).await.map(drop)
            }
            _ => return Err(Undelivered::Never(format!("no such event: {kind}"))),
        };
        delivered.map_err(|status| undelivered(&status))
    }
}
