//! settlement-svc: what a landing token stands for, and how a workspace that came with one is settled.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, SubscriptionId, WorkspaceId};
use chassis::money::Currency;
use chassis::peer::{PeerChannel, is_refusal, silence};
use chassis::status::Refused;
use tallystick_proto::common::v1::Vendor;
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::cloud_account_service_client::CloudAccountServiceClient;
use tallystick_proto::settlement::v1::settlement_method_service_client::SettlementMethodServiceClient;
use tallystick_proto::settlement::v1::subscription::State;
use tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceBindRequest, CloudAccountServiceResolveRequest, Purchase,
    SettlementMethodServiceActivateRequest, WalletServiceCloseRequest,
};
use tonic::Status;
use uuid::Uuid;

use crate::domain::registration::Landing;

const PEER: &str = "settlement-svc";

/// A purchase that a landing token stands for.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// At which vendor: "AWS".
    pub vendor: String,
    /// Who bought there.
    pub cloud_account_id: String,
    /// What.
    pub instance_id: String,
    /// What the marketplace charges in.
    pub currency: Currency,
    /// It can be charged.
    pub is_active: bool,
    /// The billing account that the cloud account is registered in.
    pub holder: Option<BillingAccountId>,
}

/// The client.
#[derive(Clone)]
pub struct Settlements {
    accounts: CloudAccountServiceClient<PeerChannel>,
    methods: SettlementMethodServiceClient<PeerChannel>,
    wallets: WalletServiceClient<PeerChannel>,
}

fn failure(status: Status) -> Failure<Refused> {
    if is_refusal(&status) {
        Failure::Rejected(Refused::of(PEER, &status))
    } else {
        Failure::Transient(silence(PEER, &status))
    }
}

fn broken(field: &str) -> Failure<Refused> {
    Failure::fatal(format!("{PEER} answered with a broken {field}"))
}

impl Settlements {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self {
            accounts: CloudAccountServiceClient::new(channel.clone()),
            methods: SettlementMethodServiceClient::new(channel.clone()),
            wallets: WalletServiceClient::new(channel),
        }
    }

    /// What a landing token stands for.
    pub async fn resolve(&self, landing_token: &str) -> Result<Resolved, Failure<Refused>> {
        let request = CloudAccountServiceResolveRequest { landing_token: landing_token.to_owned() };
        let answer = self.accounts.clone().resolve(request).await.map_err(failure)?.into_inner();
        let holder = Some(answer.billing_account_id).filter(|id| !id.is_empty());
        let holder = holder.map(|id| id.parse()).transpose().map_err(|_| broken("billing_account_id"))?;
        let subscription = answer.subscription.unwrap_or_default();
        let vendor = subscription.vendor().as_str_name().trim_start_matches("VENDOR_").to_owned();
        Ok(Resolved {
            vendor,
            is_active: subscription.state() == State::Active,
            currency: subscription.currency_code.parse().map_err(|_| broken("currency_code"))?,
            cloud_account_id: subscription.cloud_account_id,
            instance_id: subscription.instance_id,
            holder,
        })
    }

    /// Binds what was bought to a billing account, once per request id.
    pub async fn bind(
        &self,
        request_id: Uuid,
        payer: BillingAccountId,
        landing: &Landing,
    ) -> Result<SubscriptionId, Failure<Refused>> {
        let vendor = Vendor::from_str_name(&format!("VENDOR_{}", landing.vendor)).unwrap_or_default();
        let request = CloudAccountServiceBindRequest {
            request_id: request_id.to_string(),
            billing_account_id: payer.to_string(),
            proof: Some(Proof::Purchase(Purchase {
                vendor: vendor.into(),
                cloud_account_id: landing.cloud_account_id.clone(),
                instance_id: landing.instance_id.clone(),
            })),
        };
        let answer = self.accounts.clone().bind(request).await.map_err(failure)?.into_inner();
        let subscription = answer.subscription.unwrap_or_default();
        subscription.subscription_id.parse().map_err(|_| broken("subscription_id"))
    }

    /// Closes the wallet of a billing account, for good.
    pub async fn close_wallet(&self, payer: BillingAccountId) -> Result<(), Failure<Refused>> {
        let request = WalletServiceCloseRequest { billing_account_id: payer.to_string() };
        self.wallets.clone().close(request).await.map(drop).map_err(failure)
    }

    /// Has a workspace settled by a subscription, once per request id.
    pub async fn activate(
        &self,
        request_id: Uuid,
        (workspace, payer): (WorkspaceId, BillingAccountId),
        subscription: SubscriptionId,
    ) -> Result<(), Failure<Refused>> {
        let request = SettlementMethodServiceActivateRequest {
            request_id: request_id.to_string(),
            workspace_id: workspace.to_string(),
            billing_account_id: payer.to_string(),
            subscription_id: subscription.to_string(),
        };
        self.methods.clone().activate(request).await.map(drop).map_err(failure)
    }
}
