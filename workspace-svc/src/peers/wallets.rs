//! settlement-svc: does a payer owe anything?

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::money::{Money, parse_decimal};
use chassis::peer::{PeerChannel, silence};
use tallystick_proto::settlement::v1::WalletServiceGetBalanceRequest;
use tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient;

const PEER: &str = "settlement-svc";

/// The client.
#[derive(Clone)]
pub struct Wallets(WalletServiceClient<PeerChannel>);

impl Wallets {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(WalletServiceClient::new(channel))
    }

    /// What a payer owes; None when it owes nothing.
    pub async fn arrears<R>(&self, id: BillingAccountId) -> Result<Option<Money>, Failure<R>> {
        let request = WalletServiceGetBalanceRequest { billing_account_id: id.to_string() };
        let answer = self.0.clone().get_balance(request).await;
        let answer = answer.map_err(|status| Failure::Transient(silence(PEER, &status)))?.into_inner();
        let arrears = answer.balance.and_then(|balance| balance.arrears).unwrap_or_default();
        let broken = || Failure::fatal(format!("{PEER} answered without the arrears of {id}"));
        let currency = arrears.currency_code.parse().map_err(|_| broken())?;
        let amount = parse_decimal(&arrears.amount).map_err(|_| broken())?;
        let money = Money::new(amount, currency).map_err(|_| broken())?;
        Ok(money.is_positive().then_some(money))
    }
}
