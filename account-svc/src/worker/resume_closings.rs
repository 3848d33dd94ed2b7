//! Goes on with closings that were interrupted.

use std::time::Duration;

use chassis::failure::Failure;
use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::{App, close_account};

const INTERVAL: Duration = Duration::from_secs(2);
const BATCH: i64 = 20;

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("resume_closings", INTERVAL, move || {
        let app = app.clone();
        async move { pass(&app).await }
    });
}

/// One that cannot go on holds back no other.
async fn pass(app: &App) -> anyhow::Result<Pace> {
    for user in close_account::interrupted(app, BATCH).await? {
        match close_account::go_on(app, user).await {
            Ok(()) => tracing::info!(account_id = %user, "an interrupted closing is done"),
            Err(Failure::Rejected(rejection)) => {
                tracing::info!(account_id = %user, ?rejection, "an interrupted closing was refused")
            }
            Err(failure) => tracing::warn!(account_id = %user, ?failure, "a closing could not go on"),
        }
    }
    Ok(Pace::Idle)
}
