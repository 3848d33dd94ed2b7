//! What is answered: wire to domain and back, rejection to status.

mod bindings;
mod convert;
mod convert_workspace;
mod members;
mod parse;
mod sealed_days;
mod sellables;
mod usage;
mod usage_history;
mod workspaces;

use chassis::peer::MESSAGE_BYTES_MAX;
use tallystick_proto::workspace::v1::binding_service_server::BindingServiceServer;
use tallystick_proto::workspace::v1::member_service_server::MemberServiceServer;
use tallystick_proto::workspace::v1::usage_service_server::UsageServiceServer;
use tallystick_proto::workspace::v1::workspace_service_server::WorkspaceServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::app::App;

/// Every service of this deployable. Streams end when the service drains.
pub fn routes(app: App, draining: CancellationToken) -> Routes {
    let usage = UsageServiceServer::new(usage::Room { app: app.clone(), draining });
    Routes::new(WorkspaceServiceServer::new(workspaces::Room { app: app.clone() }))
        .add_service(BindingServiceServer::new(bindings::Room { app: app.clone() }))
        .add_service(MemberServiceServer::new(members::Room { app }))
        .add_service(usage.max_decoding_message_size(MESSAGE_BYTES_MAX))
}
