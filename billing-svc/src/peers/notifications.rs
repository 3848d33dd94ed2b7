//! account-svc: mails payers.

use chassis::auth::User;
use chassis::id::derived;
use chassis::notifications::mail_event;
use chassis::outbox::Event;
use tallystick_proto::account::v1::MailTemplate;

use crate::domain::bill::Bill;

/// The mail that tells a payer of a bill (WS-5), on its way.
pub fn issued_event(bill: &Bill) -> Event {
    let parameters = [
        ("usage_date", bill.usage_date.to_string()),
        ("amount", bill.total.printed()),
        ("currency", bill.total.currency().to_string()),
    ];
    let request_id = derived(bill.bill_id.uuid(), "BILL_ISSUED");
    let payer = User::Billing(bill.billing_account_id);
    mail_event(payer, bill.workspace_id, MailTemplate::BillIssued, &parameters, request_id)
}
