//! Folds what ingest adds up into the hours.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::fold_usage::fold_all;

/// How often it looks while nothing comes.
const INTERVAL: Duration = Duration::from_secs(1);
/// And while something does. A reader adds what is not folded yet; the longer this is, the fewer rows are written, and the longer ingest waits for a core
/// while they are.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("fold_usage", INTERVAL, move || {
        let app = app.clone();
        async move {
            if fold_all(&app).await? == 0 {
                return Ok(Pace::Idle);
            }
            tokio::time::sleep(BUSY_INTERVAL).await;
            Ok(Pace::Again)
        }
    });
}
