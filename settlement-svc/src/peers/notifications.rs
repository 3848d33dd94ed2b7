//! account-svc: mails payers.

use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::PeerChannel;
use prost::Message as _;
use tallystick_proto::account::v1::notification_service_client::NotificationServiceClient;
use tallystick_proto::account::v1::{MailParameter, MailTemplate, NotificationServiceSendRequest};
use uuid::Uuid;

use crate::domain::cloud_account::Vendor;

/// The service that events of this kind are for.
pub const DESTINATION: &str = "account-svc";
const SEND: &str = "Send";

/// The client.
#[derive(Clone)]
pub struct Notifications(NotificationServiceClient<PeerChannel>);

/// The mail that tells a payer of a switch (MK-11), on its way.
pub fn switched_event(payer: BillingAccountId, id: WorkspaceId, vendor: Vendor, request_id: Uuid) -> Event {
    let parameter = |name: &str, value: String| MailParameter { name: name.to_owned(), value };
    let request = NotificationServiceSendRequest {
        request_id: request_id.to_string(),
        account_id: payer.to_string(),
        template: MailTemplate::MethodSwitched.into(),
        language: 0,
        parameters: vec![
            parameter("workspace", id.to_string()),
            parameter("vendor", vendor.word().to_owned()),
        ],
    };
    Event { destination: DESTINATION, aggregate_id: id.uuid(), kind: SEND, payload: request.encode_to_vec() }
}

impl Notifications {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(NotificationServiceClient::new(channel))
    }

    /// Takes an event there.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        if kind != SEND {
            return Err(Undelivered::Never(format!("no such event: {kind}")));
        }
        let request = NotificationServiceSendRequest::decode(payload);
        let request = request.map_err(|error| Undelivered::Never(error.to_string()))?;
        self.0.clone().send(request).await.map(drop).map_err(|status| undelivered(&status))
    }
}
