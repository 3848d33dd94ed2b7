//! Takes back records that should never have been sent: first shown, then done as shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use chassis::id::WorkspaceId;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::App;
use super::drop_partitions::first_day_kept;
use super::fold_usage::fold_workspace_day;
use crate::domain::meter::{Meters, Reduction};
use crate::store;
use crate::store::late_usage::LateCounts;
use crate::store::usage_deltas::{Delta, Slot};
use crate::store::usage_records::StoredRecord;
use crate::store::usage_voids::Why;

/// What is to be taken back.
#[derive(Debug)]
pub struct VoidRequest {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Of which day.
    pub day: UsageDate,
    /// Which events.
    pub event_ids: BTreeSet<Uuid>,
    /// Why.
    pub reason: String,
    /// What the dry run answered; empty makes one.
    pub confirmation: String,
    /// Who.
    pub caller: String,
}

/// What was taken back, or would be.
#[derive(Debug)]
pub struct Voided {
    /// Nothing was changed.
    pub is_dry_run: bool,
    /// How many are taken back now.
    pub voided_count: usize,
    /// How many had been before.
    pub already_voided_count: usize,
    /// Which were never counted.
    pub unknown: Vec<Uuid>,
    /// What goes, by meter and dimension.
    pub quantities: BTreeMap<(String, String), i128>,
    /// The day is closed.
    pub is_late: bool,
    /// Of this request, and what it finds.
    pub confirmation: String,
}

/// Why nothing is taken back.
#[derive(Debug)]
pub enum VoidRejection {
    /// No such workspace.
    UnknownWorkspace(WorkspaceId),
    /// The records of the day are gone.
    Forgotten(UsageDate),
    /// The confirmation is not of a dry run of this request.
    NotConfirmed(WorkspaceId),
}

/// What a record counted for, and where.
struct Taken<'a> {
    record: &'a StoredRecord,
    meter: String,
    reduction: Reduction,
    measure_id: i16,
    hour: i16,
    counted: i64,
    /// Of a trial's quota.
    limited: bool,
}

/// Shows what would be taken back, or takes it back.
pub async fn void_usage(app: &App, request: &VoidRequest) -> Result<Voided, Failure<VoidRejection>> {
    if request.day < first_day_kept(app.today()) {
        return Err(Failure::Rejected(VoidRejection::Forgotten(request.day)));
    }
    let meters = app.meters().await?;
    let ids: Vec<Uuid> = request.event_ids.iter().copied().collect();
    let mut tx = app.pool.begin().await?;
    let intakes = store::workspaces::intakes(&mut tx, &[request.workspace_id.uuid()]).await?;
    let Some(intake) = intakes.get(&request.workspace_id) else {
        return Err(Failure::Rejected(VoidRejection::UnknownWorkspace(request.workspace_id)));
    };
    let dry_run = request.confirmation.is_empty();
    if !dry_run {
        // Nobody folds meanwhile: what the hours hold of these records is in one place.
        store::usage_deltas::hold_fold(&mut tx).await?;
    }
    let closed = store::day_fences::hold_open(&mut tx, &BTreeSet::from([request.day])).await?;
    let records = store::usage_records::find(&mut tx, request.workspace_id, request.day, &ids).await?;
    let confirmation = confirm(request, &records, !closed.is_empty());
    if !dry_run && confirmation != request.confirmation {
        return Err(Failure::Rejected(VoidRejection::NotConfirmed(request.workspace_id)));
    }
    let before = store::usage_voids::reasons(&mut tx, request.workspace_id, request.day, &ids).await?;
    let open = records.iter().filter(|record| !before.contains_key(&record.event_id));
    let taken: Result<Vec<_>, _> =
        open.map(|record| taken(&meters, record, intake.is_trial_at(record.event_time))).collect();
    let taken = taken?;
    let known: BTreeSet<Uuid> = records.iter().map(|record| record.event_id).collect();
    let mut quantities = BTreeMap::new();
    for one in &taken {
        *quantities.entry((one.meter.clone(), one.record.dimension.clone())).or_insert(0) +=
            i128::from(one.counted);
    }
    let voided = Voided {
        is_dry_run: dry_run,
        voided_count: taken.len(),
        already_voided_count: before.len(),
        unknown: request.event_ids.difference(&known).copied().collect(),
        quantities,
        is_late: !closed.is_empty(),
        confirmation,
    };
    if !dry_run && !taken.is_empty() {
        take_back(app, &mut tx, request, &taken, voided.is_late).await?;
        fault::point("void.before_commit");
        tx.commit().await?;
    }
    Ok(voided)
}

/// What the dry run and its execution must have in common: the request, the records that are there, and whether the day is closed.
fn confirm(request: &VoidRequest, records: &[StoredRecord], is_late: bool) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{}|{}|{}|", request.workspace_id, request.day, request.reason));
    request.event_ids.iter().for_each(|event_id| hash.update(event_id.as_bytes()));
    hash.update(if is_late { b"|late|" } else { b"|open|" });
    for record in records {
        hash.update(record.event_id.as_bytes());
        hash.update(record.quantity.to_be_bytes());
    }
    chassis::wire::hex(&hash.finalize())
}

fn taken<'a>(
    meters: &Meters,
    record: &'a StoredRecord,
    is_trial: bool,
) -> Result<Taken<'a>, Failure<VoidRejection>> {
    let meter = meters.get(record.meter_id);
    let counted = meter.and_then(|meter| Some((meter, meter.count(record.quantity)?)));
    let Some((meter, counted)) = counted else {
        return Err(chassis::bug!("{} was counted of a meter that does not count it", record.event_id));
    };
    Ok(Taken {
        record,
        meter: meter.meter.clone(),
        reduction: meter.reduction,
        measure_id: meter.measure_id,
        hour: i16::from(UsageDate::hour_of(record.event_time)),
        counted,
        limited: is_trial && meter.reduction == Reduction::Sum && meter.trial_quota.is_some(),
    })
}

async fn take_back(
    app: &App,
    connection: &mut PgConnection,
    request: &VoidRequest,
    taken: &[Taken<'_>],
    is_late: bool,
) -> Result<(), Failure<VoidRejection>> {
    fold_workspace_day(&mut *connection, request.workspace_id, request.day).await?;
    let slot = |one: &Taken<'_>| Slot {
        workspace_id: request.workspace_id,
        usage_date: request.day,
        meter_id: one.measure_id,
        dimension: "",
        hour: one.hour,
        is_late,
    };
    let mut hours: HashMap<Slot<'_>, Delta> = HashMap::new();
    let mut maxima: BTreeSet<Slot<'_>> = BTreeSet::new();
    let mut given_back = BTreeMap::new();
    let mut rows = Vec::with_capacity(taken.len());
    for one in taken {
        let slot = Slot { dimension: &one.record.dimension, ..slot(one) };
        hours.entry(slot).or_default().add(one.counted);
        rows.push((one.record.event_id, slot, one.counted));
        if one.reduction == Reduction::Max {
            maxima.insert(slot);
        }
        if one.limited {
            let counter = (request.workspace_id, request.day, one.measure_id);
            *given_back.entry(counter).or_insert(0_i64) -= one.counted;
        }
    }
    let now = app.clock.now();
    let why = Why { reason: &request.reason, caller: &request.caller, at: now };
    let inserted = store::usage_voids::insert(&mut *connection, &rows, why).await?;
    let hours: Vec<_> = hours.into_iter().collect();
    let found = store::hourly_usage::take_back(&mut *connection, &hours).await?;
    // Both were read under the lock of whoever folds: another of these calls has waited.
    if inserted.len() != rows.len() || usize::try_from(found) != Ok(hours.len()) {
        return Err(chassis::bug!("{} of {} records, {found} hours", inserted.len(), rows.len()));
    }
    let maxima: Vec<_> = maxima.into_iter().collect();
    store::hourly_usage::find_maxima_again(&mut *connection, &maxima).await?;
    store::trial_usage::add(&mut *connection, &given_back).await?;
    if is_late {
        let voids = i64::try_from(taken.len()).unwrap_or(i64::MAX);
        let late = LateCounts { voids, ..LateCounts::default() };
        store::late_usage::add(
            connection,
            &BTreeMap::from([((request.workspace_id, request.day), late)]),
            now,
        )
        .await?;
    }
    Ok(())
}
