//! Closes a billing day that has ended, and seals it workspace by workspace. Interrupted anywhere, it goes on; twice at once, the
//! two take turns; done, it answers with the manifest for ever.

use std::collections::HashMap;

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::WorkspaceId;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::App;
use crate::domain::binding::{Binding, payer_of};
use crate::domain::daily_usage::{DayRules, HourlyUsage, reduce};
use crate::domain::meter::Meters;
use crate::domain::retention::RetentionPolicy;
use crate::domain::sealed_day::{Manifest, SealedDay, manifest_digest};
use crate::domain::usage_key::SeenTogether;
use crate::domain::workspace::Workspace;
use crate::store;
use crate::store::usage_records::Late;

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

/// Seals the day, or answers that it is sealed.
pub async fn seal_day(app: &App, day: UsageDate) -> Result<Manifest, Failure<SealRejection>> {
    let now = app.clock.now();
    if let Some(manifest) = store::day_fences::manifest(&mut *app.pool.acquire().await?, day).await? {
        return Ok(manifest);
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
/// Days that are made up for at one look.
const DUE_MAX: i64 = 400;

/// Seals every day that is due and not sealed, the oldest first. A day that fails holds back no later one; answers how many failed.
pub async fn seal_due(app: &App) -> sqlx::Result<usize> {
    let last = UsageDate::of(app.clock.now() - SEALED_AFTER).plus_days(-1);
    let due = store::day_fences::list_unsealed(&mut *app.pool.acquire().await?, last, DUE_MAX).await?;
    let mut failed = 0;
    for day in due {
        if let Err(failure) = seal_day(app, day).await {
            tracing::error!(%day, ?failure, "a day that is due is not sealed");
            failed += 1;
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

/// False when no workspace is left.
async fn seal_chunk(app: &App, day: UsageDate) -> Result<bool, Failure<SealRejection>> {
    let meters = app.meters().await?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_seal(&mut tx, day).await?;
    let workspaces =
        store::workspaces::list_unsealed(&mut tx, day.date(), (day.start(), day.end()), CHUNK).await?;
    if workspaces.is_empty() {
        return Ok(false);
    }
    let facts = load(&mut tx, day, &workspaces, &meters).await?;
    for workspace in &workspaces {
        let sealed = decide(day, workspace, &meters, &facts)?;
        store::sealed_days::insert(&mut tx, &sealed, None, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// What the sealed days of a chunk follow from.
struct Facts {
    bindings: HashMap<WorkspaceId, Vec<Binding>>,
    policies: HashMap<WorkspaceId, Vec<RetentionPolicy>>,
    usage: HashMap<WorkspaceId, Vec<HourlyUsage>>,
    /// Of workspaces whose day is divided.
    keys: HashMap<WorkspaceId, Vec<SeenTogether>>,
}

fn rules<'a>(
    day: UsageDate,
    workspace: &Workspace,
    meters: &'a Meters,
    policies: &'a [RetentionPolicy],
) -> DayRules<'a> {
    let commercial_from = workspace.commercial_from.unwrap_or_else(|| day.start());
    DayRules { day, meters, policies, commercial_from }
}

async fn load(
    connection: &mut PgConnection,
    day: UsageDate,
    workspaces: &[Workspace],
    meters: &Meters,
) -> sqlx::Result<Facts> {
    let ids: Vec<Uuid> = workspaces.iter().map(|workspace| workspace.workspace_id.uuid()).collect();
    let mut bindings: HashMap<_, Vec<_>> = HashMap::new();
    for binding in store::bindings::list_before(&mut *connection, &ids, day.end()).await? {
        bindings.entry(binding.workspace_id).or_default().push(binding);
    }
    let mut policies: HashMap<_, Vec<_>> = HashMap::new();
    for (id, policy) in store::retention_policies::list_of_many(&mut *connection, &ids).await? {
        policies.entry(id).or_default().push(policy);
    }
    let mut usage: HashMap<_, Vec<_>> = HashMap::new();
    let mut hourly = store::hourly_usage::list(&mut *connection, day, &ids, Late::Excluded).await?;
    hourly.extend(store::usage_points::list_by_hour(&mut *connection, day, &ids, Late::Excluded).await?);
    for (id, hourly) in hourly {
        usage.entry(id).or_default().push(hourly);
    }
    let mut keys = HashMap::new();
    for workspace in workspaces {
        let id = workspace.workspace_id;
        let own = policies.get(&id).map(Vec::as_slice).unwrap_or_default();
        if rules(day, workspace, meters, own).divides_day() {
            keys.insert(
                id,
                store::usage_keys::list_together(&mut *connection, id, day, Late::Excluded).await?,
            );
        }
    }
    Ok(Facts { bindings, policies, usage, keys })
}

fn decide(
    day: UsageDate,
    workspace: &Workspace,
    meters: &Meters,
    facts: &Facts,
) -> Result<SealedDay, Failure<SealRejection>> {
    let id = workspace.workspace_id;
    let bindings = facts.bindings.get(&id).map(Vec::as_slice).unwrap_or_default();
    let Some(payer) = payer_of(day, bindings) else {
        return Err(chassis::bug!("{id} was commercial on {day} without a payer"));
    };
    if workspace.commercial_from.is_none() {
        return Err(chassis::bug!("{id} is to be sealed and is no commercial workspace"));
    }
    let policies = facts.policies.get(&id).map(Vec::as_slice).unwrap_or_default();
    let usage = facts.usage.get(&id).map(Vec::as_slice).unwrap_or_default();
    let keys = facts.keys.get(&id).map(Vec::as_slice).unwrap_or_default();
    let lines = reduce(rules(day, workspace, meters, policies), usage, keys)
        .map_err(|unreducible| Failure::fatal(format!("{id} on {day}: {unreducible}")))?;
    Ok(SealedDay {
        workspace_id: id,
        usage_date: day,
        billing_account_id: payer.billing_account_id,
        currency: payer.currency,
        site_class: workspace.site.class(),
        bound_at: payer.effective_from,
        lines,
    })
}

async fn finish(app: &App, day: UsageDate) -> Result<Manifest, Failure<SealRejection>> {
    let mut tx = app.pool.begin().await?;
    store::day_fences::hold_seal(&mut tx, day).await?;
    let digests = store::sealed_days::digests(&mut tx, day).await?;
    let count = i32::try_from(digests.len()).map_err(Failure::fatal)?;
    let digest = manifest_digest(digests.iter().map(Vec::as_slice));
    store::day_fences::mark_sealed(&mut tx, day, count, &digest, app.clock.now()).await?;
    let manifest = store::day_fences::manifest(&mut tx, day).await?;
    tx.commit().await?;
    fault::point("seal.sealed");
    manifest.ok_or_else(|| Failure::fatal(format!("{day} was sealed and has no manifest")))
}
