//! billing-svc: hears how its bills were paid, through the outbox.

use chassis::money::{InvalidMoney, Money};
use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::PeerChannel;
use chassis::wire;
use prost::Message as _;
use tallystick_proto::billing::v1::bill_service_client::BillServiceClient;
use tallystick_proto::billing::v1::{BillServiceRecordSettlementRequest, BillSettlement};

use crate::domain::deduction::SourceKind;
use crate::domain::settlement::Settlement;

/// The service that events of this kind are for.
pub const DESTINATION: &str = "billing-svc";
const RECORD_SETTLEMENT: &str = "RecordSettlement";

/// The client.
#[derive(Clone)]
pub struct Bills(BillServiceClient<PeerChannel>);

/// How a bill was paid, on its way to billing-svc.
pub fn settled_event(settlement: &Settlement) -> Result<Event, InvalidMoney> {
    let vouchers = settlement.paid_by(&[SourceKind::PlainVoucher, SourceKind::FullReductionVoucher])?;
    let part = |money: Money| Some(wire::money(money));
    let request = BillServiceRecordSettlementRequest {
        workspace_id: settlement.workspace_id.to_string(),
        bill_id: settlement.bill_id.to_string(),
        settlement: Some(BillSettlement {
            settlement_id: settlement.settlement_id.to_string(),
            voucher_amount: part(vouchers),
            card_amount: part(settlement.paid_by(&[SourceKind::PrepaidCard])?),
            cash_amount: part(settlement.paid_by(&[SourceKind::Cash])?),
            cloud_amount: part(settlement.paid_by(&[SourceKind::CloudAccount])?),
            owed_amount: part(settlement.owed),
            settle_time: Some(wire::timestamp(settlement.settled_at)),
        }),
    };
    Ok(Event {
        destination: DESTINATION,
        aggregate_id: settlement.bill_id.uuid(),
        kind: RECORD_SETTLEMENT,
        payload: request.encode_to_vec(),
    })
}

impl Bills {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(BillServiceClient::new(channel))
    }

    /// Takes an event there.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        if kind != RECORD_SETTLEMENT {
            return Err(Undelivered::Never(format!("no such event: {kind}")));
        }
        let request = BillServiceRecordSettlementRequest::decode(payload);
        let request = request.map_err(|error| Undelivered::Never(error.to_string()))?;
        self.0.clone().record_settlement(request).await.map(drop).map_err(|status| undelivered(&status))
    }
}
