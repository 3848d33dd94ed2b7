//! Works on runs that have not ended, oldest first.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;
use tracing::Instrument as _;

use crate::app::{App, make_bills};

const INTERVAL: Duration = Duration::from_millis(500);

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("run_bills", INTERVAL, move || {
        let app = app.clone();
        async move {
            let Some(run) = make_bills::unfinished(&app).await? else { return Ok(Pace::Idle) };
            let span = chassis::telemetry::span_under(&run.trace_context, "make_bills", "billing-svc");
            let worked = make_bills::make_bills(&app, &run).instrument(span).await?;
            Ok(if worked { Pace::Again } else { Pace::Idle })
        }
    });
}
