//! Closes a billing day that has ended, and seals it workspace by workspace. Interrupted anywhere, it goes on; twice at once, the
//! two take turns; done, it answers with the manifest for ever. Workspaces that failed are in the manifest too, and are tried again.

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use super::App;
use super::seal_workspaces::seal_workspaces;
use crate::domain::sealed_day::{Manifest, manifest_digest};
use crate::store;

/// Why a day is not sealed.
#[derive(Debug)]
pub enum SealRejection {
    /// It has not ended.
    NotEnded {
        /// The day.
        day: UsageDate,
        /// What the clock says.
        now: OffsetDateTime,
    },
}

/// Workspaces per transaction.
const CHUNK: i64 = 200;

/// Seals the day, or answers that it is sealed; of a sealed day it tries what has failed once more.
pub async fn seal_day(app: &App, day: UsageDate) -> Result<Manifest, Failure<SealRejection>> {
    let now = app.clock.now();
    let known = store::day_fences::manifest(&mut *app.pool.acquire().await?, day).await?;
    if let Some(manifest) = known {
        return if manifest.failure_count == 0 { Ok(manifest) } else { seal_failed(app, day).await };
    }
    if now < day.end() {
        return Err(Failure::Rejected(SealRejection::NotEnded { day, now }));
    }
    close(app, day, now).await?;
    fault::point("seal.closed");
    while seal_chunk(app, day).await? {
        fault::point("seal.chunk");
    }
    finish(app, day).await
}

/// A day is sealed by itself so long after its end.
const SEALED_AFTER: Duration = Duration::hours(1);
/// What failed is tried again by itself so long after it was tried.
const TRIED_AFTER: Duration = Duration::minutes(10);
/// Days that are made up for at one look.
const DUE_MAX: i64 = 400;

/// Seals every day that is due and not sealed, the oldest first, then what has failed on others. A day that fails, wholly or with some of its
/// workspaces, holds back no later one; answers how many did.
pub async fn seal_due(app: &App) -> sqlx::Result<usize> {
    let now = app.clock.now();
    let last = UsageDate::of(now - SEALED_AFTER).plus_days(-1);
    let mut connection = app.pool.acquire().await?;
    let mut due = store::day_fences::list_unsealed(&mut connection, last, DUE_MAX).await?;
    let with_failures = store::seal_failures::list_days(&mut connection, DUE_MAX).await?;
    drop(connection);
    let is_due = |tried_at: OffsetDateTime| tried_at + TRIED_AFTER <= now;
    let mut failed = with_failures.iter().filter(|(_, tried_at)| !is_due(*tried_at)).count();
    due.extend(with_failures.iter().filter(|(_, tried_at)| is_due(*tried_at)).map(|(day, _)| *day));
    for day in due {
        match seal_day(app, day).await {
            Ok(manifest) if manifest.failure_count == 0 => {}
            Ok(manifest) => {
                let failure_count = manifest.failure_count;
                tracing::error!(%day, failure_count, "workspaces of a day that is due are not sealed");
                failed += 1;
            }
            Err(failure) => {
                tracing::error!(%day, ?failure, "a day that is due is not sealed");
                failed += 1;
            }
        }
    }
    Ok(failed)
}

/// Ingest holds the fence shared until its commit: whoever held it when this waits has committed when this goes on, and whoever
/// takes it after sees the day closed.
async fn close(app: &App, day: UsageDate, now: OffsetDateTime) -> sqlx::Result<()> {
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_alone(&mut tx, day).await?;
    store::day_fences::close(&mut tx, day, now).await?;
    tx.commit().await
}

/// False when no workspace is left that was not tried.
async fn seal_chunk(app: &App, day: UsageDate) -> Result<bool, Failure<SealRejection>> {
    let meters = app.meters().await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_seal(&mut tx, day).await?;
    let period = (day.start(), day.end());
    let ids = store::workspaces::list_unsealed(&mut tx, day.date(), period, CHUNK).await?;
    if ids.is_empty() {
        return Ok(false);
    }
    seal_workspaces(&mut tx, day, &ids, &meters, now).await?;
    tx.commit().await?;
    Ok(true)
}

async fn finish(app: &App, day: UsageDate) -> Result<Manifest, Failure<SealRejection>> {
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_seal(&mut tx, day).await?;
    // Another may have written it.
    write_manifest(&mut tx, day, app.clock.now()).await?;
    let manifest = manifest_of(&mut tx, day).await?;
    tx.commit().await?;
    fault::point("seal.sealed");
    Ok(manifest)
}

/// Tries each workspace that failed once more.
async fn seal_failed(app: &App, day: UsageDate) -> Result<Manifest, Failure<SealRejection>> {
    let mut after = None;
    loop {
        after = seal_again(app, day, after).await?;
        fault::point("seal.again");
        if after.is_none() {
            break;
        }
    }
    manifest_of(&mut *app.pool.acquire().await?, day).await
}

/// In one transaction some workspaces go from the failures to the sealed days, and the manifest with them. Answers the last that was tried; none is left
/// after None.
async fn seal_again(
    app: &App,
    day: UsageDate,
    after: Option<WorkspaceId>,
) -> Result<Option<WorkspaceId>, Failure<SealRejection>> {
    let meters = app.meters().await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_seal(&mut tx, day).await?;
    let failures = store::seal_failures::list(&mut tx, day, after, CHUNK).await?;
    let ids: Vec<WorkspaceId> = failures.iter().map(|failure| failure.workspace_id).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let sealed_count = seal_workspaces(&mut tx, day, &ids, &meters, now).await?;
    if sealed_count > 0 {
        let deleted = store::seal_failures::delete_sealed(&mut tx, day, &ids).await?;
        if usize::try_from(deleted) != Ok(sealed_count) || !write_manifest(&mut tx, day, now).await? {
            return Err(chassis::bug!(
                "{sealed_count} workspaces of {day} were sealed, {deleted} had failed"
            ));
        }
    }
    tx.commit().await?;
    if sealed_count > 0 {
        tracing::warn!(%day, sealed_count, "workspaces that had failed are sealed: another bill run of the day bills them");
    }
    Ok(ids.last().copied())
}

/// Of what is sealed by now and what has failed. False when the one that is there stays.
async fn write_manifest(
    connection: &mut PgConnection,
    day: UsageDate,
    now: OffsetDateTime,
) -> Result<bool, Failure<SealRejection>> {
    let digests = store::sealed_days::digests(&mut *connection, day).await?;
    let failed = store::seal_failures::list_ids(&mut *connection, day).await?;
    let workspace_count = i32::try_from(digests.len() + failed.len()).map_err(Failure::fatal)?;
    let failure_count = i32::try_from(failed.len()).map_err(Failure::fatal)?;
    let digest = manifest_digest(digests.iter().map(Vec::as_slice), &failed);
    let counts = (workspace_count, failure_count);
    Ok(store::day_fences::mark_sealed(connection, day, counts, &digest, now).await?)
}

async fn manifest_of(
    connection: &mut PgConnection,
    day: UsageDate,
) -> Result<Manifest, Failure<SealRejection>> {
    let manifest = store::day_fences::manifest(connection, day).await?;
    manifest.ok_or_else(|| Failure::fatal(format!("{day} was sealed and has no manifest")))
}
