//! Mails owners about the countdown of their locked workspaces, and carries those mails to account-svc.

use std::sync::Arc;
use std::time::Duration;

use chassis::outbox::Relay;
use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::{App, lock_workspace::tell_of_countdowns};
use crate::peers::accounts::{Accounts, DESTINATION};

const INTERVAL: Duration = Duration::from_secs(5);

/// Starts the loop and the relay.
pub fn start(frame: &Frame, app: App, accounts: Accounts) {
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
        destination: DESTINATION,
        deliver: Arc::new(move |kind, payload| {
            let accounts = accounts.clone();
            Box::pin(async move { accounts.deliver(&kind, &payload).await })
        }),
    });
}
