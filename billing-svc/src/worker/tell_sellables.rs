//! Tells workspace-svc every day what the books sell.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::tell_sellables::tell_next;

/// How soon after 00:00 it is told: until then everything is taken.
const INTERVAL: Duration = Duration::from_secs(30);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("tell_sellables", INTERVAL, move || {
        let app = app.clone();
        async move { Ok(if tell_next(&app).await? { Pace::Again } else { Pace::Idle }) }
    });
}
