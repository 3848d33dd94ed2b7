//! account-svc: is there such a billing account, and what is its currency?

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::money::Currency;
use chassis::peer::{PeerChannel, silence};
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::{AccountState, BillingAccountServiceGetRequest};
use tonic::Code;

use crate::domain::cloud_account::Payer;

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
        Ok(self.get(id).await?.map(|(currency, _)| currency))
    }

    /// The account's currency, and whether it can pay; None when there is no such account.
    pub async fn get<R>(&self, id: BillingAccountId) -> Result<Option<(Currency, Payer)>, Failure<R>> {
        let request = BillingAccountServiceGetRequest { billing_account_id: id.to_string() };
        match self.0.clone().get(request).await {
            Ok(answer) => {
                let account = answer.into_inner().billing_account.unwrap_or_default();
                let payer = match account.state() {
                    AccountState::Open => Payer::Open,
                    AccountState::Unspecified | AccountState::Closing | AccountState::Closed => Payer::Closed,
                };
                let currency = account.currency_code.parse();
                currency
                    .map(|currency| Some((currency, payer)))
                    .map_err(|_| Failure::fatal(format!("{PEER} answered without a currency for {id}")))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Failure::Transient(silence(PEER, &status))),
        }
    }
}
