//! Sends mails that wait, and keeps what they leave behind from growing.

use std::time::Duration;

use chassis::server::Frame;
use chassis::worker::{Claim, Pace};

use crate::app::{App, send_mail};

const INTERVAL: Duration = Duration::from_millis(500);
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the loops. Only one process sends at a time, so that nothing is sent twice but after a crash.
pub fn start(frame: &Frame, app: App) {
    let (pool, schema) = (frame.pool.clone(), frame.service.schema);
    let pruning = app.clone();
    frame.spawn_worker("send_mails", INTERVAL, move || {
        let (app, pool) = (app.clone(), pool.clone());
        async move {
            let claim = Claim { pool: &pool, schema };
            if !claim.take(send_mail::CLAIM).await? {
                return Ok(Pace::Idle);
            }
            Ok(if send_mail::deliver_mail(&app).await? { Pace::Again } else { Pace::Idle })
        }
    });
    frame.spawn_worker("prune_mails", PRUNE_INTERVAL, move || {
        let app = pruning.clone();
        async move { Ok(if send_mail::prune_mails(&app).await? { Pace::Again } else { Pace::Idle }) }
    });
}
