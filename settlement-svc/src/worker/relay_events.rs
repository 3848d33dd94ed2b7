//! Carries results to billing-svc.

use std::sync::Arc;

use chassis::outbox::Relay;
use chassis::server::Frame;

use crate::peers::bills::{Bills, DESTINATION};

/// Starts the relay.
pub fn start(frame: &Frame, bills: Bills) {
    frame.spawn_relay(Relay {
        pool: frame.pool.clone(),
        schema: frame.service.schema,
        destination: DESTINATION,
        deliver: Arc::new(move |kind, payload| {
            let bills = bills.clone();
            Box::pin(async move { bills.deliver(&kind, &payload).await })
        }),
    });
}
