//! Mails to accounts, through the outbox: account-svc knows where they are read.

use std::sync::Arc;

use prost::Message as _;
use tallystick_proto::account::v1::notification_service_client::NotificationServiceClient;
use tallystick_proto::account::v1::{MailParameter, MailTemplate, NotificationServiceSendRequest};
use uuid::Uuid;

use crate::id::WorkspaceId;
use crate::outbox::{Deliver, Event, Undelivered, undelivered};
use crate::peer::PeerChannel;
use crate::user::User;

/// The service that mails are for.
pub const DESTINATION: &str = "account-svc";
const SEND: &str = "Send";

/// A mail about a workspace, on its way to an account, with what its template names besides the workspace. Mails of an account keep their order.
pub fn mail_event(
    to: User,
    about: WorkspaceId,
    template: MailTemplate,
    parameters: &[(&str, String)],
    request_id: Uuid,
) -> Event {
    let parameter =
        |(name, value): &(&str, String)| MailParameter { name: (*name).to_owned(), value: value.clone() };
    let request = NotificationServiceSendRequest {
        request_id: request_id.to_string(),
        account_id: to.to_string(),
        template: template.into(),
        language: 0,
        parameters: parameters.iter().map(parameter).collect(),
        workspace_id: about.to_string(),
    };
    let aggregate_id = match to {
        User::Console(id) => id.uuid(),
        User::Billing(id) => id.uuid(),
    };
    Event { destination: DESTINATION, aggregate_id, kind: SEND, payload: request.encode_to_vec() }
}

/// Takes mails to account-svc.
pub fn deliver_over(channel: PeerChannel) -> Deliver {
    let client = NotificationServiceClient::new(channel);
    Arc::new(move |kind, payload| {
        let mut client = client.clone();
        Box::pin(async move {
            if kind != SEND {
                return Err(Undelivered::Never(format!("no such event: {kind}")));
            }
            let request = NotificationServiceSendRequest::decode(payload.as_slice());
            let request = request.map_err(|error| Undelivered::Never(error.to_string()))?;
            client.send(request).await.map(drop).map_err(|status| undelivered(&status))
        })
    })
}
