//! settlement-svc: what keeps a workspace with its payer?

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::{Money, parse_decimal};
use chassis::peer::{PeerChannel, silence};
use tallystick_proto::settlement::v1::settlement_method_service_client::SettlementMethodServiceClient;
use tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient;
use tallystick_proto::settlement::v1::{SettlementMethodServiceGetRequest, WalletServiceGetBalanceRequest};

const PEER: &str = "settlement-svc";

/// The client.
#[derive(Clone)]
pub struct Wallets {
    wallets: WalletServiceClient<PeerChannel>,
    methods: SettlementMethodServiceClient<PeerChannel>,
}

impl Wallets {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            wallets: WalletServiceClient::new(channel.clone()),
            methods: SettlementMethodServiceClient::new(channel),
        }
    }

    /// The active subscription of its payer's that settles a workspace (SM-4); None when there is none.
    pub async fn active_subscription<R>(&self, id: WorkspaceId) -> Result<Option<String>, Failure<R>> {
        let request = SettlementMethodServiceGetRequest { workspace_id: id.to_string() };
        let answer = self.methods.clone().get(request).await;
        let answer = answer.map_err(|status| Failure::Transient(silence(PEER, &status)))?.into_inner();
        let method = answer.settlement_method.unwrap_or_default();
        Ok(method.subscription_active.then_some(method.subscription_id))
    }

    /// What a payer owes; None when it owes nothing.
    pub async fn arrears<R>(&self, id: BillingAccountId) -> Result<Option<Money>, Failure<R>> {
        let request = WalletServiceGetBalanceRequest { billing_account_id: id.to_string() };
        let answer = self.wallets.clone().get_balance(request).await;
        let answer = answer.map_err(|status| Failure::Transient(silence(PEER, &status)))?.into_inner();
        let arrears = answer.balance.and_then(|balance| balance.arrears).unwrap_or_default();
        let broken = || Failure::fatal(format!("{PEER} answered without the arrears of {id}"));
        let currency = arrears.currency_code.parse().map_err(|_| broken())?;
        let amount = parse_decimal(&arrears.amount).map_err(|_| broken())?;
        let money = Money::new(amount, currency).map_err(|_| broken())?;
        Ok(money.is_positive().then_some(money))
    }
}
