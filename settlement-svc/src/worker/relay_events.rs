//! Carries events to the other services: results to billing-svc, locks to workspace-svc, mails to account-svc.

use std::sync::Arc;

use chassis::notifications;
use chassis::outbox::{Deliver, Relay};
use chassis::peer::PeerChannel;
use chassis::server::Frame;

use crate::peers::bills::{self, Bills};
use crate::peers::workspaces::{self, Workspaces};

/// Starts a relay per destination.
pub fn start(frame: &Frame, bills: Bills, workspaces: Workspaces, account: PeerChannel) {
    let relay = |destination, deliver: Deliver| {
        frame.spawn_relay(Relay {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            destination,
            deliver,
        });
    };
    relay(
        bills::DESTINATION,
        Arc::new(move |kind, payload| {
            let bills = bills.clone();
            Box::pin(async move { bills.deliver(&kind, &payload).await })
        }),
    );
    relay(
        workspaces::DESTINATION,
        Arc::new(move |kind, payload| {
            let workspaces = workspaces.clone();
            Box::pin(async move { workspaces.deliver(&kind, &payload).await })
        }),
    );
    relay(notifications::DESTINATION, notifications::deliver_over(account));
}
