//! Keeps what sessions leave behind from growing.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::{App, prune_sessions::prune_sessions};

const INTERVAL: Duration = Duration::from_secs(60);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("prune_sessions", INTERVAL, move || {
        let app = app.clone();
        async move { Ok(if prune_sessions(&app).await? { Pace::Again } else { Pace::Idle }) }
    });
}
