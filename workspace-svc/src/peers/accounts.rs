//! account-svc: what an account is, and whether a code is right.

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::money::Currency;
use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::{PeerChannel, silence};
use chassis::site::Site;
use chassis::status::{Refused, reason_of};
use prost::Message as _;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::notification_service_client::NotificationServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::account::v1::{
    AccountState, BillingAccountServiceGetRequest, ConsoleAccountServiceGetRequest, MailParameter,
    MailTemplate, NotificationServiceSendRequest, SessionServiceRedeemCodeRequest,
};
use tallystick_proto::common::v1::{CodeProof, Language as WireLanguage};
use tonic::Code;
use uuid::Uuid;

use crate::domain::workspace::{Language, Workspace};

const PEER: &str = "account-svc";
/// The service that events of this kind are for.
pub const DESTINATION: &str = PEER;

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
    notifications: NotificationServiceClient<PeerChannel>,
}

impl Accounts {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            billing: BillingAccountServiceClient::new(channel.clone()),
            console: ConsoleAccountServiceClient::new(channel.clone()),
            sessions: SessionServiceClient::new(channel.clone()),
            notifications: NotificationServiceClient::new(channel),
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

    /// Takes a mail to account-svc.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        if kind != MAIL {
            return Err(Undelivered::Never(format!("no such event: {kind}")));
        }
        let request = NotificationServiceSendRequest::decode(payload)
            .map_err(|error| Undelivered::Never(error.to_string()))?;
        let sent = self.notifications.clone().send(request).await;
        sent.map(drop).map_err(|status| undelivered(&status))
    }
}

const MAIL: &str = "Send";

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
    let mut parameters = vec![("workspace", workspace.name.clone())];
    let template = match notice {
        Notice::Countdown(days_left) => {
            let final_date = workspace.lock.map(|lock| chassis::civil::UsageDate::of(lock.final_from));
            parameters.push(("days_left", days_left.to_string()));
            parameters.push(("final_date", final_date.map(|day| day.to_string()).unwrap_or_default()));
            MailTemplate::LockCountdown
        }
        Notice::Locked => MailTemplate::Locked,
        Notice::Unlocked => MailTemplate::Unlocked,
    };
    let parameters =
        parameters.into_iter().map(|(name, value)| MailParameter { name: name.to_owned(), value });
    let request = NotificationServiceSendRequest {
        request_id: request_id.to_string(),
        account_id: workspace.owner.to_string(),
        template: template.into(),
        language: match workspace.language {
            Language::Zh => WireLanguage::Zh.into(),
            Language::En => WireLanguage::En.into(),
        },
        parameters: parameters.collect(),
    };
    Event {
        destination: DESTINATION,
        aggregate_id: workspace.workspace_id.uuid(),
        kind: MAIL,
        payload: request.encode_to_vec(),
    }
}
