//! Seals a day of some workspaces, each from its own facts. One that cannot be sealed is listed with its problem, and holds back no other.

use std::collections::HashMap;
use std::slice;

use chassis::civil::UsageDate;
use chassis::failure::is_about_data;
use chassis::id::WorkspaceId;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::binding::{Binding, payer_of};
use crate::domain::daily_usage::{DayRules, HourlyUsage, reduce};
use crate::domain::meter::Meters;
use crate::domain::retention::RetentionPolicy;
use crate::domain::seal_failure::Problem;
use crate::domain::sealed_day::SealedDay;
use crate::domain::usage_key::SeenTogether;
use crate::domain::workspace::Workspace;
use crate::store;
use crate::store::usage_records::Late;

/// Seals or lists each of these in the caller's transaction, which holds the seal of the day; answers how many were sealed.
pub async fn seal_workspaces(
    connection: &mut PgConnection,
    day: UsageDate,
    ids: &[WorkspaceId],
    meters: &Meters,
    now: OffsetDateTime,
) -> sqlx::Result<usize> {
    let problem = match try_to_seal(&mut *connection, day, ids, meters, now).await? {
        Ok(sealed_count) => return Ok(sealed_count),
        Err(problem) => problem,
    };
    if let [id] = ids {
        list_failure(connection, day, *id, &problem, now).await?;
        return Ok(0);
    }
    // Something is wrong with the rows of one; of which, shows when each is tried alone.
    let mut sealed_count = 0;
    for id in ids {
        match try_to_seal(&mut *connection, day, slice::from_ref(id), meters, now).await? {
            Ok(count) => sealed_count += count,
            Err(problem) => list_failure(&mut *connection, day, *id, &problem, now).await?,
        }
    }
    Ok(sealed_count)
}

/// Seals or lists these together. Rows that cannot be read or written are a problem of all, and nothing of any is done then.
async fn try_to_seal(
    connection: &mut PgConnection,
    day: UsageDate,
    ids: &[WorkspaceId],
    meters: &Meters,
    now: OffsetDateTime,
) -> sqlx::Result<Result<usize, Problem>> {
    let mut part = connection.begin().await?;
    match seal_together(&mut part, day, ids, meters, now).await {
        Ok(sealed_count) => {
            part.commit().await?;
            Ok(Ok(sealed_count))
        }
        Err(error) if is_about_data(&error) => {
            part.rollback().await?;
            Ok(Err(Problem::fault(error)))
        }
        Err(error) => Err(error),
    }
}

async fn seal_together(
    connection: &mut PgConnection,
    day: UsageDate,
    ids: &[WorkspaceId],
    meters: &Meters,
    now: OffsetDateTime,
) -> sqlx::Result<usize> {
    let facts = load(&mut *connection, day, ids, meters).await?;
    let mut sealed_count = 0;
    for id in ids {
        match decide(day, *id, meters, &facts) {
            Ok(sealed) => {
                store::sealed_days::insert(&mut *connection, &sealed, None, now).await?;
                sealed_count += 1;
            }
            Err(problem) => list_failure(&mut *connection, day, *id, &problem, now).await?,
        }
    }
    Ok(sealed_count)
}

async fn list_failure(
    connection: &mut PgConnection,
    day: UsageDate,
    id: WorkspaceId,
    problem: &Problem,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let (reason, text) = (problem.reason.word(), problem.text.as_str());
    tracing::error!(workspace_id = %id, %day, reason, problem = text, "a workspace is not sealed");
    store::seal_failures::upsert(connection, day, id, problem, now).await
}

/// What the sealed days follow from.
struct Facts {
    workspaces: HashMap<WorkspaceId, Workspace>,
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
    ids: &[WorkspaceId],
    meters: &Meters,
) -> sqlx::Result<Facts> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let listed = store::workspaces::list_of_many(&mut *connection, &ids).await?;
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
    let mut workspaces = HashMap::new();
    for workspace in listed {
        let id = workspace.workspace_id;
        let own = policies.get(&id).map(Vec::as_slice).unwrap_or_default();
        if rules(day, &workspace, meters, own).divides_day() {
            keys.insert(
                id,
                store::usage_keys::list_together(&mut *connection, id, day, Late::Excluded).await?,
            );
        }
        workspaces.insert(id, workspace);
    }
    Ok(Facts { workspaces, bindings, policies, usage, keys })
}

fn decide(day: UsageDate, id: WorkspaceId, meters: &Meters, facts: &Facts) -> Result<SealedDay, Problem> {
    let workspace = facts.workspaces.get(&id);
    let workspace = workspace.ok_or_else(|| Problem::fault("there is no such workspace"))?;
    if workspace.commercial_from.is_none() {
        return Err(Problem::fault("it is to be sealed and is no commercial workspace"));
    }
    let bindings = facts.bindings.get(&id).map(Vec::as_slice).unwrap_or_default();
    let payer = payer_of(day, bindings).ok_or_else(Problem::no_payer)?;
    let policies = facts.policies.get(&id).map(Vec::as_slice).unwrap_or_default();
    let usage = facts.usage.get(&id).map(Vec::as_slice).unwrap_or_default();
    let keys = facts.keys.get(&id).map(Vec::as_slice).unwrap_or_default();
    let lines = reduce(rules(day, workspace, meters, policies), usage, keys)?;
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
