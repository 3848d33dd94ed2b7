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
            let mut failed = None;
            let mut worked = false;
            // One run that cannot go on holds back no other.
            for run in make_bills::unfinished(&app).await? {
                let span = chassis::telemetry::span_under(&run.trace_context, "make_bills", "billing-svc");
                match make_bills::make_bills(&app, &run).instrument(span).await {
                    Ok(done) => worked |= done,
                    Err(error) => failed = Some(error.context(run.run_id)),
                }
            }
            match failed {
                Some(error) => Err(error),
                None => Ok(if worked { Pace::Again } else { Pace::Idle }),
            }
        }
    });
}
