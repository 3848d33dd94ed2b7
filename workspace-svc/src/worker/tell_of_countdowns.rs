//! Mails owners about the countdown of their locked workspaces, and carries those mails to account-svc.

use std::time::Duration;

use chassis::notifications;
use chassis::outbox::Relay;
use chassis::peer::PeerChannel;
use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::{App, lock_workspace::tell_of_countdowns};

const INTERVAL: Duration = Duration::from_secs(5);

/// Starts the loop and the relay.
pub fn start(frame: &Frame, app: App, account: PeerChannel) {
    frame.spawn_worker("tell_of_countdowns", INTERVAL, move || {
        let app = app.clone();
        async move {
            tell_of_countdowns(&app).await?;
            Ok(Pace::Idle)
        }
    });
    frame.spawn_relay(Relay {
        pool: frame.pool.clone(),
        schema: frame.service.schema,
        destination: notifications::DESTINATION,
        deliver: notifications::deliver_over(account),
    });
}
