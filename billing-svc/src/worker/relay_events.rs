//! Carries bills to settlement-svc, and mails about them to account-svc.

use std::sync::Arc;

use chassis::notifications;
use chassis::outbox::{Deliver, Relay};
use chassis::peer::PeerChannel;
use chassis::server::Frame;

use crate::peers::settlements::{DESTINATION, Settlements};

/// Starts a relay per destination.
pub fn start(frame: &Frame, settlements: Settlements, account: PeerChannel) {
    let relay = |destination, deliver: Deliver| {
        frame.spawn_relay(Relay {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            destination,
            deliver,
        });
    };
    relay(
        DESTINATION,
        Arc::new(move |kind, payload| {
            let settlements = settlements.clone();
            Box::pin(async move { settlements.deliver(&kind, &payload).await })
        }),
    );
    relay(notifications::DESTINATION, notifications::deliver_over(account));
}
