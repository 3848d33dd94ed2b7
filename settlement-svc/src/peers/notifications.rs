//! account-svc: mails payers.

use chassis::auth::User;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::notifications::mail_event;
use chassis::outbox::Event;
use tallystick_proto::account::v1::MailTemplate;
use uuid::Uuid;

use crate::domain::cloud_account::Vendor;

/// The mail that tells a payer of a switch (MK-11), on its way.
pub fn switched_event(payer: BillingAccountId, id: WorkspaceId, vendor: Vendor, request_id: Uuid) -> Event {
    let parameters = [("vendor", vendor.word().to_owned())];
    mail_event(User::Billing(payer), id, MailTemplate::MethodSwitched, &parameters, request_id)
}
