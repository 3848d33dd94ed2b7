//! What is answered: wire to domain and back, rejection to status.

mod cloud_accounts;
mod convert;
mod settlement_methods;
mod settlements;
mod simulated_marketplaces;
mod wallets;

use tallystick_proto::settlement::v1::cloud_account_service_server::CloudAccountServiceServer;
use tallystick_proto::settlement::v1::settlement_method_service_server::SettlementMethodServiceServer;
use tallystick_proto::settlement::v1::settlement_service_server::SettlementServiceServer;
use tallystick_proto::settlement::v1::simulated_marketplace_service_server::SimulatedMarketplaceServiceServer;
use tallystick_proto::settlement::v1::wallet_service_server::WalletServiceServer;
use tonic::service::Routes;

use crate::app::App;

/// Every service of this deployable.
pub fn routes(app: App) -> Routes {
    Routes::new(WalletServiceServer::new(wallets::Room { app: app.clone() }))
        .add_service(SettlementServiceServer::new(settlements::Room { app: app.clone() }))
        .add_service(SettlementMethodServiceServer::new(settlement_methods::Room { app: app.clone() }))
        .add_service(CloudAccountServiceServer::new(cloud_accounts::Room { app: app.clone() }))
        .add_service(SimulatedMarketplaceServiceServer::new(simulated_marketplaces::Room { app }))
}
