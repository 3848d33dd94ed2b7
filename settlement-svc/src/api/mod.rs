//! What is answered: wire to domain and back, rejection to status.

mod convert;
mod settlements;
mod wallets;

use tallystick_proto::settlement::v1::settlement_service_server::SettlementServiceServer;
use tallystick_proto::settlement::v1::wallet_service_server::WalletServiceServer;
use tonic::service::Routes;

use crate::app::App;

/// Every service of this deployable.
pub fn routes(app: App) -> Routes {
    Routes::new(WalletServiceServer::new(wallets::Room { app: app.clone() }))
        .add_service(SettlementServiceServer::new(settlements::Room { app }))
}
