//! What is answered: wire to domain and back, rejection to status.

mod audits;
mod billing_accounts;
mod codes;
mod console_accounts;
mod convert;
mod notifications;
mod registrations;
mod sessions;

use tallystick_proto::account::v1::audit_service_server::AuditServiceServer;
use tallystick_proto::account::v1::billing_account_service_server::BillingAccountServiceServer;
use tallystick_proto::account::v1::console_account_service_server::ConsoleAccountServiceServer;
use tallystick_proto::account::v1::notification_service_server::NotificationServiceServer;
use tallystick_proto::account::v1::registration_service_server::RegistrationServiceServer;
use tallystick_proto::account::v1::session_service_server::SessionServiceServer;
use tonic::service::Routes;

use crate::app::App;

/// Every service of this deployable.
pub fn routes(app: App) -> Routes {
    Routes::new(ConsoleAccountServiceServer::new(console_accounts::Room { app: app.clone() }))
        .add_service(AuditServiceServer::new(audits::Room { app: app.clone() }))
        .add_service(BillingAccountServiceServer::new(billing_accounts::Room { app: app.clone() }))
        .add_service(NotificationServiceServer::new(notifications::Room { app: app.clone() }))
        .add_service(RegistrationServiceServer::new(registrations::Room { app: app.clone() }))
        .add_service(SessionServiceServer::new(sessions::Room { app }))
}
