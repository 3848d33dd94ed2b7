//! Carries bills to settlement-svc, mails about them to account-svc, and what books sell to workspace-svc.

use std::sync::Arc;

use chassis::notifications;
use chassis::outbox::{Deliver, Relay};
use chassis::peer::PeerChannel;
use chassis::server::Frame;

use crate::peers::sellables::{self, Sellables};
use crate::peers::settlements::{DESTINATION, Settlements};

/// Starts a relay per destination.
pub fn start(frame: &Frame, settlements: Settlements, sellables: Sellables, account: PeerChannel) {
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
    relay(
        sellables::DESTINATION,
        Arc::new(move |kind, payload| {
            let sellables = sellables.clone();
            Box::pin(async move { sellables.deliver(&kind, &payload).await })
        }),
    );
    relay(notifications::DESTINATION, notifications::deliver_over(account));
}
