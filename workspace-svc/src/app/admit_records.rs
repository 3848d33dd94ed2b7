//! Judges each record of a batch by itself: is it admitted, and what does it count for?

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chassis::civil::UsageDate;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ingest_usage::Ingested;
use crate::domain::closure::Intake;
use crate::domain::meter::{Counting, Meter, Meters};
use crate::domain::sellable::{Book, Sellables};
use crate::domain::trial::{Counter, check};
use crate::domain::usage_record::{
    UsageRecord, UsageRefusal, admit, check_count_from, counted, is_in_horizon, unsold_in,
};
use crate::store::usage_records::{Key, NewRecord};
use crate::store::usage_sources::Fed;
use crate::store::workspaces::Intakes;

/// An admitted record and its place in the batch, with the later records of the batch that have its id.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its place.
    pub index: usize,
    /// Its identity.
    pub key: Key,
    /// What was sent.
    pub record: &'a UsageRecord,
    /// What was measured.
    pub meter: &'a Meter,
    /// What it counts for.
    pub counted: i64,
    /// Of its content.
    pub fingerprint: i64,
    /// Its day is closed.
    pub is_late: bool,
    /// The others with its id.
    pub repeats: Vec<(usize, i64)>,
    /// Its workspace is gone: after the seal of the day nothing is taken for it.
    pub refuses_late: bool,
    /// Of a trial: what its day's sum is held to.
    pub quota: Option<i64>,
    /// It is refused unless it was counted before: this book does not sell its item.
    pub unsold_in: Option<Book>,
}

impl Candidate<'_> {
    /// Judges the record and its repeats by the fingerprint that is stored for their id: equal ones are counted already, the others
    /// reuse the id. `is_new`: the record itself was counted now.
    pub fn judge(&self, stored: i64, is_new: bool, ingested: &mut Ingested) {
        let own = (!is_new).then_some((self.index, self.fingerprint));
        for (index, fingerprint) in own.into_iter().chain(self.repeats.iter().copied()) {
            if fingerprint == stored {
                ingested.duplicates.push(index);
            } else {
                ingested.refusals.push((index, UsageRefusal::EventIdReused));
            }
        }
    }

    /// The record and its repeats share a refusal.
    pub fn refuse(&self, refusal: &UsageRefusal, ingested: &mut Ingested) {
        let indexes = std::iter::once(self.index).chain(self.repeats.iter().map(|(index, _)| *index));
        ingested.refusals.extend(indexes.map(|index| (index, refusal.clone())));
    }

    /// The quota that it takes from.
    pub fn counter(&self) -> Counter {
        (self.key.workspace_id, self.key.usage_date, self.meter.measure_id)
    }

    /// The item that it feeds.
    pub fn fed(&self) -> Fed {
        (self.key.workspace_id, self.key.usage_date, self.meter.item.clone())
    }

    /// As it is stored.
    pub fn row(&self) -> NewRecord<'_> {
        NewRecord {
            key: self.key,
            event_time: self.record.event_time,
            meter_id: self.meter.meter_id,
            dimension: &self.record.dimension,
            quantity: self.record.quantity,
            fingerprint: self.fingerprint,
            is_late: self.is_late,
        }
    }
}

/// Records that are judged before others have their turn: a query must not wait for all of a large batch.
const AT_ONCE: usize = 512;

/// One record by what is known of its workspace.
fn candidate<'a>(
    index: usize,
    record: &'a UsageRecord,
    intake: Option<&Intake>,
    (meters, sellables): (&'a Meters, &Sellables),
    now: OffsetDateTime,
) -> Result<Candidate<'a>, UsageRefusal> {
    let meter = admit(record.event_time, &record.meter, &record.dimension, intake, meters, now)?;
    if meter.counting != Counting::Quantity {
        let problem = format!("{} is counted by its keys: report them with ReportKeys", meter.meter);
        return Err(UsageRefusal::Malformed { field: "meter", problem });
    }
    if let Some(intake) = intake {
        check_count_from(meter, intake, record.event_time, record.count_from)?;
    }
    let counted = counted(meter, record.quantity)?;
    let trial = intake.filter(|intake| intake.is_trial_at(record.event_time));
    let quota = trial.map(|_| check(meter, counted)).transpose()?.flatten();
    let key =
        Key { event_id: record.event_id, workspace_id: record.workspace_id, usage_date: record.usage_date() };
    Ok(Candidate {
        index,
        key,
        record,
        meter,
        counted,
        fingerprint: record.fingerprint(),
        is_late: false,
        repeats: Vec::new(),
        refuses_late: intake.is_some_and(|intake| intake.refuses_late(now)),
        quota,
        unsold_in: unsold_in(meter, intake, record.event_time, sellables).filter(|_| counted > 0),
    })
}

/// The days that records of a batch may be admitted to, and their workspaces.
pub fn named_in(
    parsed: &[Result<UsageRecord, UsageRefusal>],
    now: OffsetDateTime,
) -> (BTreeSet<UsageDate>, Vec<Uuid>) {
    let mut ids: HashSet<Uuid, foldhash::fast::RandomState> = HashSet::default();
    let mut days = BTreeSet::new();
    for record in parsed.iter().flatten() {
        ids.insert(record.workspace_id.uuid());
        if is_in_horizon(record.event_time, now) {
            days.insert(record.usage_date());
        }
    }
    (days, ids.into_iter().collect())
}

/// What is admitted of a batch, in order of its keys so that two batches never wait for each other, and what is refused.
pub async fn admit_records<'a>(
    rules: (&'a Meters, &Sellables),
    intakes: &Intakes,
    parsed: &'a [Result<UsageRecord, UsageRefusal>],
    now: OffsetDateTime,
) -> (Vec<Candidate<'a>>, Ingested) {
    let mut ingested = Ingested::default();
    let mut candidates = Vec::with_capacity(parsed.len());
    for (index, parsed) in parsed.iter().enumerate() {
        if (index + 1).is_multiple_of(AT_ONCE) {
            tokio::task::yield_now().await;
        }
        let admitted = match parsed {
            Ok(record) => {
                candidate(index, record, intakes.get(&record.workspace_id).map(Arc::as_ref), rules, now)
            }
            Err(refusal) => Err(refusal.clone()),
        };
        match admitted {
            Ok(candidate) => candidates.push(candidate),
            Err(refusal) => ingested.refusals.push((index, refusal)),
        }
    }
    // Stable: of records with one id the first of the batch comes first. Candidates are large: each is moved once.
    candidates.sort_by_cached_key(|candidate| candidate.key.place());
    candidates.dedup_by(|next, first| {
        let repeats = next.key == first.key;
        if repeats {
            first.repeats.push((next.index, next.fingerprint));
        }
        repeats
    });
    (candidates, ingested)
}
