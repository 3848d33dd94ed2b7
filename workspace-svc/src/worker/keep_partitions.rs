//! Makes the partitions of the days to come, so that ingest finds them, and drops those that nobody needs any more.

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::Pace;

use crate::app::App;
use crate::app::drop_partitions::drop_partitions;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Days ahead of today.
const DAYS_AHEAD: i64 = 7;

/// Starts the loop.
pub fn start(frame: &Frame, app: App) {
    frame.spawn_worker("keep_partitions", INTERVAL, move || {
        let app = app.clone();
        async move {
            let days: BTreeSet<_> = (0..=DAYS_AHEAD).map(|ahead| app.today().plus_days(ahead)).collect();
            app.have_partitions_ahead(&days).await?;
            drop_partitions(&app).await?;
            Ok(Pace::Idle)
        }
    });
}
