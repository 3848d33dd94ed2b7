//! Folds what ingest adds up into the hours.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::fold_usage::fold_next;

/// How often it looks. A reader adds what is not folded yet; the longer this is, the fewer rows are written.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("fold_usage", INTERVAL, move || {
        let app = app.clone();
        async move { Ok(if fold_next(&app).await? { Pace::Again } else { Pace::Idle }) }
    });
}
