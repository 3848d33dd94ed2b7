//! Sees to it that the key of access tokens changes every day.

use std::time::Duration;

use chassis::failure::Failure;
use chassis::server::Frame;
use chassis::status::Refusal;
use chassis::worker::Pace;

use crate::app::{App, keep_session_keys};

const INTERVAL: Duration = Duration::from_secs(60);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("keep_session_keys", INTERVAL, move || {
        let app = app.clone();
        async move {
            let kept = keep_session_keys::keep_session_keys(&app).await;
            kept.map_err(|failure: Failure<Refusal>| anyhow::anyhow!("{failure:?}"))?;
            Ok(Pace::Idle)
        }
    });
}
