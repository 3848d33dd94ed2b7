//! gRPC clients of all four services.

use std::net::SocketAddr;

use chassis::auth::Signer;
use chassis::peer::{MESSAGE_BYTES_MAX, PeerChannel, channel};
use chassis::wire;
use tallystick_proto::account::v1::audit_service_client::AuditServiceClient;
use tallystick_proto::account::v1::billing_account_service_client::BillingAccountServiceClient;
use tallystick_proto::account::v1::console_account_service_client::ConsoleAccountServiceClient;
use tallystick_proto::account::v1::notification_service_client::NotificationServiceClient;
use tallystick_proto::account::v1::registration_service_client::RegistrationServiceClient;
use tallystick_proto::account::v1::session_service_client::SessionServiceClient;
use tallystick_proto::billing::v1::bill_run_service_client::BillRunServiceClient;
use tallystick_proto::billing::v1::bill_service_client::BillServiceClient;
use tallystick_proto::billing::v1::package_service_client::PackageServiceClient;
use tallystick_proto::billing::v1::price_book_service_client::PriceBookServiceClient;
use tallystick_proto::ops::v1::clock_service_client::ClockServiceClient;
use tallystick_proto::ops::v1::work_service_client::WorkServiceClient;
use tallystick_proto::ops::v1::{ClockServiceAdvanceRequest, ClockServiceGetRequest};
use tallystick_proto::settlement::v1::cloud_account_service_client::CloudAccountServiceClient;
use tallystick_proto::settlement::v1::settlement_method_service_client::SettlementMethodServiceClient;
use tallystick_proto::settlement::v1::settlement_service_client::SettlementServiceClient;
use tallystick_proto::settlement::v1::simulated_marketplace_service_client::SimulatedMarketplaceServiceClient;
use tallystick_proto::settlement::v1::wallet_service_client::WalletServiceClient;
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::member_service_client::MemberServiceClient;
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::workspace_service_client::WorkspaceServiceClient;
use time::OffsetDateTime;

/// One client of each service of the contract.
#[derive(Clone)]
pub struct Clients {
    /// account-svc
    pub console_accounts: ConsoleAccountServiceClient<PeerChannel>,
    /// account-svc
    pub billing_accounts: BillingAccountServiceClient<PeerChannel>,
    /// account-svc
    pub registrations: RegistrationServiceClient<PeerChannel>,
    /// account-svc
    pub sessions: SessionServiceClient<PeerChannel>,
    /// account-svc
    pub notifications: NotificationServiceClient<PeerChannel>,
    /// workspace-svc
    pub workspaces: WorkspaceServiceClient<PeerChannel>,
    /// workspace-svc
    pub bindings: BindingServiceClient<PeerChannel>,
    /// workspace-svc
    pub members: MemberServiceClient<PeerChannel>,
    /// account-svc
    pub audits: AuditServiceClient<PeerChannel>,
    /// workspace-svc
    pub usage: UsageServiceClient<PeerChannel>,
    /// billing-svc
    pub price_books: PriceBookServiceClient<PeerChannel>,
    /// billing-svc
    pub bill_runs: BillRunServiceClient<PeerChannel>,
    /// billing-svc
    pub bills: BillServiceClient<PeerChannel>,
    /// settlement-svc
    pub wallets: WalletServiceClient<PeerChannel>,
    /// settlement-svc
    pub settlements: SettlementServiceClient<PeerChannel>,
    /// billing-svc
    pub packages: PackageServiceClient<PeerChannel>,
    /// settlement-svc
    pub methods: SettlementMethodServiceClient<PeerChannel>,
    /// settlement-svc
    pub cloud_accounts: CloudAccountServiceClient<PeerChannel>,
    /// settlement-svc
    pub marketplaces: SimulatedMarketplaceServiceClient<PeerChannel>,
    /// Every deployable has a clock.
    pub clocks: Vec<ClockServiceClient<PeerChannel>>,
    /// And work: account-svc, workspace-svc, billing-svc, settlement-svc.
    pub works: Vec<WorkServiceClient<PeerChannel>>,
}

impl Clients {
    /// Connects lazily, with tokens of this signer.
    pub fn connect(addresses: &[SocketAddr; 4], signer: &Signer) -> anyhow::Result<Self> {
        let [account, workspace, billing, settlement] = addresses;
        let to = |address: &SocketAddr, name| channel(&format!("http://{address}"), name, signer.clone());
        let account = to(account, "account-svc")?;
        let workspace = to(workspace, "workspace-svc")?;
        let billing = to(billing, "billing-svc")?;
        let settlement = to(settlement, "settlement-svc")?;
        let all = [&account, &workspace, &billing, &settlement];
        let works = all.into_iter().cloned().map(WorkServiceClient::new).collect();
        let clocks = all.into_iter().cloned().map(ClockServiceClient::new).collect();
        Ok(Self {
            console_accounts: ConsoleAccountServiceClient::new(account.clone()),
            billing_accounts: BillingAccountServiceClient::new(account.clone()),
            registrations: RegistrationServiceClient::new(account.clone()),
            sessions: SessionServiceClient::new(account.clone()),
            notifications: NotificationServiceClient::new(account.clone()),
            workspaces: WorkspaceServiceClient::new(workspace.clone()),
            bindings: BindingServiceClient::new(workspace.clone()),
            members: MemberServiceClient::new(workspace.clone()),
            audits: AuditServiceClient::new(account),
            usage: UsageServiceClient::new(workspace).max_decoding_message_size(MESSAGE_BYTES_MAX),
            price_books: PriceBookServiceClient::new(billing.clone()),
            bill_runs: BillRunServiceClient::new(billing.clone()),
            bills: BillServiceClient::new(billing.clone()),
            packages: PackageServiceClient::new(billing),
            wallets: WalletServiceClient::new(settlement.clone()),
            settlements: SettlementServiceClient::new(settlement.clone()),
            methods: SettlementMethodServiceClient::new(settlement.clone()),
            cloud_accounts: CloudAccountServiceClient::new(settlement.clone()),
            marketplaces: SimulatedMarketplaceServiceClient::new(settlement),
            clocks,
            works,
        })
    }

    /// Now, as the services see it.
    pub async fn now(&self) -> anyhow::Result<OffsetDateTime> {
        let Some(clock) = self.clocks.first() else { anyhow::bail!("there is no clock") };
        let now = clock.clone().get(ClockServiceGetRequest {}).await?.into_inner().now_time;
        now.as_ref().and_then(wire::instant).ok_or_else(|| anyhow::anyhow!("a service has no time"))
    }

    /// Moves every clock to a moment, unless it is past it. Services of one process share a clock: the first to be moved moves all, and
    /// each keeps it in its schema.
    pub async fn advance_to(&self, moment: OffsetDateTime) -> anyhow::Result<()> {
        for clock in &self.clocks {
            let request = ClockServiceAdvanceRequest { now_time: Some(wire::timestamp(moment)) };
            match clock.clone().advance(request).await {
                Ok(_) => {}
                Err(status) if chassis::status::reason_of(&status).as_deref() == Some("CLOCK_BACKWARD") => {}
                Err(status) => return Err(status.into()),
            }
        }
        Ok(())
    }
}
