//! Drops the partitions of records that are older than any resend that is admitted, and of hours older than any reader may ask for. Ingest never waits
//! for it: what cannot be had within milliseconds is tried again at the next look.

use chassis::civil::UsageDate;
use chassis::fault;

use super::App;
use crate::domain::usage_record::HORIZON;
use crate::store;

/// Keys of records live so long: longer than the horizon, so that every resend that is admitted meets its key (DEC-73).
pub const RECORDS_KEPT_DAYS: i64 = 40;
/// Hours and points live so long: 13 months.
pub const HOURS_KEPT_DAYS: i64 = 397;

// A resend that is admitted on the last day of the horizon, with a clock five minutes behind, meets its key.
const _: () = assert!(RECORDS_KEPT_DAYS > HORIZON.whole_days() + 1);

/// The first day whose records are kept.
pub fn first_day_kept(today: UsageDate) -> UsageDate {
    today.plus_days(-RECORDS_KEPT_DAYS)
}

/// Answers how many were dropped.
pub async fn drop_partitions(app: &App) -> sqlx::Result<usize> {
    let today = app.today();
    let mut connection = app.pool.acquire().await?;
    let hours_before = today.plus_days(-HOURS_KEPT_DAYS);
    let old = store::partitions::list_old(&mut connection, first_day_kept(today), hours_before).await?;
    let mut dropped = 0;
    for name in old {
        match store::partitions::detach(&mut connection, &name).await {
            Ok(true) => {
                fault::point("partition.detached");
                store::partitions::drop_detached(&mut connection, &name).await?;
                dropped += 1;
            }
            Ok(false) => tracing::info!(name, "ingest holds an old partition; it is dropped later"),
            // A day that is not sealed, or of which a workspace is not, keeps what it is sealed from until it is.
            Err(error) => tracing::warn!(name, %error, "an old partition is kept"),
        }
    }
    Ok(dropped)
}
