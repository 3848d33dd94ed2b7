//! billing-svc: what is billed and settled of a payer that wants to go.

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::peer::{PeerChannel, is_refusal, silence};
use chassis::status::Refused;
use tallystick_proto::billing::v1::BillServiceCountRequest;
use tallystick_proto::billing::v1::bill_service_client::BillServiceClient;

const PEER: &str = "billing-svc";

/// The client.
#[derive(Clone)]
pub struct Bills(BillServiceClient<PeerChannel>);

/// How many bills there are.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// One per workspace and sealed day.
    pub daily: i64,
    /// Without a settlement.
    pub unsettled: i64,
}

impl Bills {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(BillServiceClient::new(channel))
    }

    /// A payer's.
    pub async fn count(&self, payer: BillingAccountId) -> Result<Counted, Failure<Refused>> {
        let request = BillServiceCountRequest { billing_account_id: payer.to_string() };
        match self.0.clone().count(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                Ok(Counted { daily: answer.daily_bill_count, unsettled: answer.unsettled_bill_count })
            }
            Err(status) if is_refusal(&status) => Err(Failure::Rejected(Refused::of(PEER, &status))),
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }
}
