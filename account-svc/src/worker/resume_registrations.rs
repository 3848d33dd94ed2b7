//! Goes on with registrations that were interrupted.

use std::time::Duration;

use chassis::failure::Failure;
use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::{App, interrupted_registrations, register};

const INTERVAL: Duration = Duration::from_secs(2);
const BATCH: i64 = 20;

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("resume_registrations", INTERVAL, move || {
        let app = app.clone();
        async move { pass(&app).await }
    });
}

/// One that cannot go on holds back no other.
async fn pass(app: &App) -> anyhow::Result<Pace> {
    for id in interrupted_registrations::due(app, BATCH).await? {
        match register::go_on(app, id).await {
            Ok(_) => tracing::info!(registration_id = %id, "an interrupted registration is complete"),
            Err(failure) => {
                let parked = matches!(failure, Failure::Rejected(_));
                let error = format!("{failure:?}");
                tracing::warn!(registration_id = %id, parked, error, "a registration could not go on");
                interrupted_registrations::note(app, id, parked, &error).await?;
            }
        }
    }
    Ok(Pace::Idle)
}
