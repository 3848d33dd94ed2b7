//! account-svc: is there such a billing account, and what is its currency?

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::money::Currency;
use chassis::peer::{PeerChannel, silence};
use tallystick_proto::account::v1::BillingAccountServiceGetRequest;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tonic::Code;

const PEER: &str = "account-svc";

/// The client.
#[derive(Clone)]
pub struct BillingAccounts(BillingAccountServiceClient<PeerChannel>);

impl BillingAccounts {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(BillingAccountServiceClient::new(channel))
    }

    /// The account's currency; None when there is no such account.
    pub async fn currency<R>(&self, id: BillingAccountId) -> Result<Option<Currency>, Failure<R>> {
        let request = BillingAccountServiceGetRequest { billing_account_id: id.to_string() };
        match self.0.clone().get(request).await {
            Ok(answer) => {
                let account = answer.into_inner().billing_account.unwrap_or_default();
                let currency = account.currency_code.parse();
                currency
                    .map(Some)
                    .map_err(|_| Failure::fatal(format!("{PEER} answered without a currency for {id}")))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }
}
