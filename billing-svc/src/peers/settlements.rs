//! settlement-svc: takes bills, through the outbox, in their payer's order.

use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::PeerChannel;
use chassis::wire;
use prost::Message as _;
use tallystick_proto::settlement::v1::settlement_service_client::SettlementServiceClient;
use tallystick_proto::settlement::v1::{SettleLine, SettlementServiceSettleRequest};

use crate::domain::bill::Bill;

/// The service that events of this kind are for.
pub const DESTINATION: &str = "settlement-svc";
const SETTLE: &str = "Settle";

/// The client.
#[derive(Clone)]
pub struct Settlements(SettlementServiceClient<PeerChannel>);

/// A bill on its way to be settled. Its payer is the aggregate: an account's bills are settled in the order of their issue.
pub fn settle_event(bill: &Bill) -> Event {
    let line = |line: &crate::domain::rating::BillLine| SettleLine {
        amount: Some(wire::money(line.amount)),
        restricted: line.is_restricted,
    };
    let request = SettlementServiceSettleRequest {
        bill_id: bill.bill_id.to_string(),
        billing_account_id: bill.billing_account_id.to_string(),
        workspace_id: bill.workspace_id.to_string(),
        usage_date: Some(wire::date(bill.usage_date)),
        total: Some(wire::money(bill.total)),
        lines: bill.lines.iter().map(line).collect(),
        bill_digest: wire::hex(&bill.digest),
    };
    Event {
        destination: DESTINATION,
        aggregate_id: bill.billing_account_id.uuid(),
        kind: SETTLE,
        payload: request.encode_to_vec(),
    }
}

impl Settlements {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(SettlementServiceClient::new(channel))
    }

    /// Takes an event there.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        if kind != SETTLE {
            return Err(Undelivered::Never(format!("no such event: {kind}")));
        }
        let request = SettlementServiceSettleRequest::decode(payload);
        let request = request.map_err(|error| Undelivered::Never(error.to_string()))?;
        self.0.clone().settle(request).await.map(drop).map_err(|status| undelivered(&status))
    }
}
