//! Forgets what is known of days that are old enough.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::forget_usage::forget_usage;

/// How often it looks: once a day there is something new.
const INTERVAL: Duration = Duration::from_secs(600);
/// While there is something, so that the disk stays ingest's.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the loop. Several processes may do it: what one holds the others leave.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("forget_usage", INTERVAL, move || {
        let app = app.clone();
        async move {
            if forget_usage(&app).await? == 0 {
                return Ok(Pace::Idle);
            }
            tokio::time::sleep(PAUSE).await;
            Ok(Pace::Again)
        }
    });
}
