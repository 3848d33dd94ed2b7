//! Carries bills to settlement-svc.

use std::sync::Arc;

use chassis::outbox::Relay;
use chassis::server::Frame;

use crate::peers::settlements::{DESTINATION, Settlements};

/// Starts the relay.
pub fn start(frame: &Frame, settlements: Settlements) {
    frame.spawn_relay(Relay {
        pool: frame.pool.clone(),
        schema: frame.service.schema,
        destination: DESTINATION,
        deliver: Arc::new(move |kind, payload| {
            let settlements = settlements.clone();
            Box::pin(async move { settlements.deliver(&kind, &payload).await })
        }),
    });
}
