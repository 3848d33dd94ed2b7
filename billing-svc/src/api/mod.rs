//! What is answered: wire to domain and back, rejection to status.

mod bill_runs;
mod bills;
mod convert;
mod packages;
mod parse;
mod price_books;

use tallystick_proto::billing::v1::bill_run_service_server::BillRunServiceServer;
use tallystick_proto::billing::v1::bill_service_server::BillServiceServer;
use tallystick_proto::billing::v1::package_service_server::PackageServiceServer;
use tallystick_proto::billing::v1::price_book_service_server::PriceBookServiceServer;
use tonic::service::Routes;

use crate::app::App;

/// Every service of this deployable.
pub fn routes(app: App) -> Routes {
    Routes::new(PriceBookServiceServer::new(price_books::Room { app: app.clone() }))
        .add_service(BillRunServiceServer::new(bill_runs::Room { app: app.clone() }))
        .add_service(BillServiceServer::new(bills::Room { app: app.clone() }))
        .add_service(PackageServiceServer::new(packages::Room { app }))
}
