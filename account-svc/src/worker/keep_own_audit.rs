//! Takes this service's own audit events into the trail, as the other services send theirs.

use std::sync::Arc;

use chassis::server::Frame;

use crate::app::{App, keep_audit_trail};

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    let service = frame.service.name;
    frame.spawn_audit(Arc::new(move |events| {
        let app = app.clone();
        Box::pin(async move { Ok(keep_audit_trail::keep(&app, service, &events).await?) })
    }));
}
