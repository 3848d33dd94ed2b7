//! account-svc: what an account is, and whether a code is right.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::money::Currency;
use chassis::notifications::mail_event;
use chassis::outbox::Event;
use chassis::peer::{PeerChannel, silence};
use chassis::site::Site;
use chassis::status::{Refused, reason_of};
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::account::v1::{
    AccountState, BillingAccountServiceGetRequest, ConsoleAccountServiceGetRequest, MailTemplate,
    SessionServiceRedeemCodeRequest,
};
use tallystick_proto::common::v1::CodeProof;
use tonic::Code;
use uuid::Uuid;

use crate::domain::workspace::Workspace;

const PEER: &str = "account-svc";

/// Who may pay.
#[derive(Debug, Clone)]
pub struct Payer {
    /// In what.
    pub currency: Currency,
    /// Whether it is open.
    pub open: bool,
    /// The taxpayer number of the enterprise that it is verified as (DEC-72).
    pub taxpayer_number: Option<String>,
}

/// What somebody sent to prove that he reads the payer's mail.
#[derive(Debug, Clone)]
pub struct Proof {
    /// As SendCode answered it.
    pub challenge: String,
    /// As it stands in the mail.
    pub code: String,
}

/// The client.
#[derive(Clone)]
pub struct Accounts {
    billing: BillingAccountServiceClient<PeerChannel>,
    console: ConsoleAccountServiceClient<PeerChannel>,
    sessions: SessionServiceClient<PeerChannel>,
}

impl Accounts {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            billing: BillingAccountServiceClient::new(channel.clone()),
            console: ConsoleAccountServiceClient::new(channel.clone()),
            sessions: SessionServiceClient::new(channel),
        }
    }

    /// A billing account; None when there is none.
    pub async fn payer<R>(&self, id: BillingAccountId) -> Result<Option<Payer>, Failure<R>> {
        let request = BillingAccountServiceGetRequest { billing_account_id: id.to_string() };
        match self.billing.clone().get(request).await {
            Ok(answer) => {
                let account = answer.into_inner().billing_account.unwrap_or_default();
                let currency = account.currency_code.parse();
                Ok(Some(Payer {
                    currency: currency.map_err(|_| {
                        Failure::fatal(format!("{PEER} answered without a currency for {id}"))
                    })?,
                    open: account.state() == AccountState::Open,
                    taxpayer_number: account.enterprise.map(|enterprise| enterprise.taxpayer_number),
                }))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }

    /// The site of an open console account; None when there is no such account.
    pub async fn site_of<R>(&self, id: ConsoleAccountId) -> Result<Option<Site>, Failure<R>> {
        let request = ConsoleAccountServiceGetRequest { console_account_id: id.to_string() };
        match self.console.clone().get(request).await {
            Ok(answer) => {
                let account = answer.into_inner().console_account.unwrap_or_default();
                if account.state() != AccountState::Open {
                    return Ok(None);
                }
                let site = Site::from_wire(account.site);
                site.map(Some).map_err(|_| Failure::fatal(format!("{PEER} answered without a site for {id}")))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }

    /// Uses up the payer's code, once per request (DEC-70).
    pub async fn redeem(
        &self,
        request_id: Uuid,
        payer: BillingAccountId,
        workspace: WorkspaceId,
        user: User,
        proof: Proof,
    ) -> Result<(), Failure<Refused>> {
        let request = SessionServiceRedeemCodeRequest {
            request_id: request_id.to_string(),
            billing_account_id: payer.to_string(),
            workspace_id: workspace.to_string(),
            account_id: user.to_string(),
            code: Some(CodeProof { challenge: proof.challenge, code: proof.code }),
        };
        match self.sessions.clone().redeem_code(request).await {
            Ok(_) => Ok(()),
            Err(status)
                if matches!(
                    reason_of(&status).as_deref(),
                    Some("CODE_INVALID" | "TRIES_EXHAUSTED" | "FIELD_INVALID")
                ) =>
            {
                Err(Failure::Rejected(Refused::of(PEER, &status)))
            }
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }
}

/// A mail about a workspace, on its way to its owner.
#[derive(Debug, Clone, Copy)]
pub enum Notice {
    /// So many days of the countdown are left.
    Countdown(i32),
    /// The countdown is over.
    Locked,
    /// The lock was lifted.
    Unlocked,
}

/// The event that carries a mail to the owner of a workspace.
pub fn mail_to_owner(workspace: &Workspace, notice: Notice, request_id: Uuid) -> Event {
    let (template, parameters) = match notice {
        Notice::Countdown(days_left) => {
            let final_date = workspace.lock.map(|lock| chassis::civil::UsageDate::of(lock.final_from));
            let final_date = final_date.map(|day| day.to_string()).unwrap_or_default();
            let parameters = vec![("days_left", days_left.to_string()), ("final_date", final_date)];
            (MailTemplate::LockCountdown, parameters)
        }
        Notice::Locked => (MailTemplate::Locked, Vec::new()),
        Notice::Unlocked => (MailTemplate::Unlocked, Vec::new()),
    };
    let owner = User::Console(workspace.owner);
    mail_event(owner, workspace.workspace_id, template, &parameters, request_id)
}
