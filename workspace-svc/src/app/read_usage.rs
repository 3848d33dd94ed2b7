//! Reads of usage and of sealed days.

use std::sync::Arc;

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::status::Refusal;
use sqlx::Result;

use super::App;
use crate::domain::daily_usage::{DailyLine, DayRules, reduce};
use crate::domain::meter::Meters;
use crate::domain::sealed_day::{Manifest, SealedDay};
use crate::store;
use crate::store::late_usage::LateCounts;
use crate::store::sealed_days::Cursor;
use crate::store::usage_records::Late;

/// A day of a workspace: everything that was accepted.
#[derive(Debug)]
pub struct UsedDay {
    /// As a seal would have it, with late usage.
    pub lines: Vec<DailyLine>,
    /// The day is sealed.
    pub is_sealed: bool,
}

/// What a workspace used on a day; None when there is no such workspace. A trial's usage is shown as used, though it is free.
pub async fn day(app: &App, id: WorkspaceId, day: UsageDate) -> Result<Option<UsedDay>, Failure<Refusal>> {
    let meters = app.meters().await?;
    let mut connection = app.pool.acquire().await?;
    let Some(workspace) = store::workspaces::get(&mut connection, id).await? else { return Ok(None) };
    let policies = store::retention_policies::list(&mut connection, id).await?;
    let ids = [id.uuid()];
    let mut usage = store::hourly_usage::list(&mut connection, day, &ids, Late::Included).await?;
    usage.extend(store::usage_points::list_by_hour(&mut connection, day, &ids, Late::Included).await?);
    let usage: Vec<_> = usage.into_iter().map(|(_, hourly)| hourly).collect();
    let commercial_from = workspace.commercial_from.unwrap_or_else(|| day.start());
    let lines = reduce(DayRules { day, meters: &meters, policies: &policies, commercial_from }, &usage)
        .map_err(|unreducible| Failure::fatal(format!("{id} on {day}: {unreducible}")))?;
    let is_sealed = store::sealed_days::exists(&mut connection, id, day).await?;
    Ok(Some(UsedDay { lines, is_sealed }))
}

/// All meters.
pub async fn meters(app: &App) -> Result<Arc<Meters>> {
    app.meters().await
}

/// The manifest of a sealed day.
pub async fn manifest(app: &App, day: UsageDate) -> Result<Option<Manifest>> {
    store::day_fences::manifest(&mut *app.pool.acquire().await?, day).await
}

/// A page of sealed days with their digests, in order of payer, binding and workspace.
pub async fn sealed_days(
    app: &App,
    day: UsageDate,
    after: Option<&SealedDay>,
    limit: i64,
) -> Result<Vec<(SealedDay, Vec<u8>)>> {
    let cursor = after.map(|last| Cursor {
        billing_account_id: last.billing_account_id,
        bound_at: last.bound_at,
        workspace_id: last.workspace_id,
    });
    store::sealed_days::list(&mut *app.pool.acquire().await?, day, cursor, limit).await
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
