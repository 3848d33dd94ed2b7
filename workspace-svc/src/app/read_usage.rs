//! Reads of usage and of sealed days.

use std::sync::Arc;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use sqlx::Result;
use uuid::Uuid;

use super::App;
use super::drop_partitions::first_day_kept;
use crate::domain::meter::Meters;
use crate::domain::seal_failure::SealFailure;
use crate::domain::sealed_day::{Manifest, SealedDay};
use crate::store;
use crate::store::late_usage::LateCounts;
pub use crate::store::sealed_days::Cursor;
use crate::store::usage_records::StoredRecord;
pub use crate::store::usage_suspects::Suspect;

/// What is known of an event.
#[derive(Debug)]
pub enum Known {
    /// Its day is so long ago that nobody knows.
    Forgotten,
    /// It was not counted.
    NotCounted,
    /// It was, of this meter; with the reason for which it was taken back, if it was.
    Counted(StoredRecord, String, Option<String>),
}

/// Whether an event was counted; None when there is no such workspace.
pub async fn look_up(app: &App, id: WorkspaceId, event_id: Uuid, day: UsageDate) -> Result<Option<Known>> {
    let meters = app.meters().await?;
    let mut connection = app.pool.acquire().await?;
    if store::workspaces::get(&mut connection, id).await?.is_none() {
        return Ok(None);
    }
    if day < first_day_kept(app.today()) {
        return Ok(Some(Known::Forgotten));
    }
    let found = store::usage_records::find(&mut connection, id, day, &[event_id]).await?.pop();
    let Some(record) = found else { return Ok(Some(Known::NotCounted)) };
    let mut reasons = store::usage_voids::reasons(&mut connection, id, day, &[event_id]).await?;
    let meter = meters.get(record.meter_id).map(|meter| meter.meter.clone()).unwrap_or_default();
    Ok(Some(Known::Counted(record, meter, reasons.remove(&event_id))))
}

/// Suspects of a day.
pub async fn suspects(
    app: &App,
    day: UsageDate,
    after: Option<(WorkspaceId, Uuid)>,
    limit: i64,
) -> Result<Vec<Suspect>> {
    store::usage_suspects::list(&mut *app.pool.acquire().await?, day, after, limit).await
}

/// All meters.
pub async fn meters(app: &App) -> Result<Arc<Meters>> {
    app.meters().await
}

/// The manifest of a sealed day.
pub async fn manifest(app: &App, day: UsageDate) -> Result<Option<Manifest>> {
    store::day_fences::manifest(&mut *app.pool.acquire().await?, day).await
}

/// Workspaces whose day could not be sealed, in order of id.
pub async fn seal_failures(
    app: &App,
    day: UsageDate,
    after: Option<WorkspaceId>,
    limit: i64,
) -> Result<Vec<SealFailure>> {
    store::seal_failures::list(&mut *app.pool.acquire().await?, day, after, limit).await
}

/// A page of sealed days with their digests, in order of payer, binding and workspace.
pub async fn sealed_days(
    app: &App,
    day: UsageDate,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<(SealedDay, Vec<u8>)>> {
    store::sealed_days::list(&mut *app.pool.acquire().await?, day, after, limit).await
}

/// Late usage of a day by workspace.
pub async fn late_usage(
    app: &App,
    day: UsageDate,
    after: Option<WorkspaceId>,
    limit: i64,
) -> Result<Vec<(WorkspaceId, LateCounts)>> {
    store::late_usage::list(&mut *app.pool.acquire().await?, day, after, limit).await
}
