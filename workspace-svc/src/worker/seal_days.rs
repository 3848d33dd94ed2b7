//! Seals every day an hour after its end. What was missed, while no process ran, is made up for, the oldest day first. What could not be sealed is tried
//! again, and is a failure of this loop until it is sealed.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::seal_day::seal_due;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(20);

/// Starts the loop. Several processes may do it: they take turns.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("seal_days", INTERVAL, move || {
        let app = app.clone();
        async move {
            match seal_due(&app).await? {
                0 => Ok(Pace::Idle),
                failed => {
                    Err(anyhow::anyhow!("{failed} days that are due are not sealed, wholly or in part"))
                }
            }
        }
    });
}
