//! Takes a batch of records in, exactly once. One that is bad is refused by its index; the rest is committed together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use chassis::status::Refusal;
use sqlx::PgConnection;

use super::App;
use crate::domain::trial::{Counter, Counters, check, used_up};
use crate::domain::usage_record::{UsageRecord, UsageRefusal, admit};
use crate::store;
use crate::store::usage_records::{Key, NewRecord};
use crate::store::usage_sources::{Fed, Mode};

/// What became of each record of a batch, by its index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Counted now.
    pub accepted: Vec<usize>,
    /// Counted before.
    pub duplicates: Vec<usize>,
    /// Accepted after its day was closed.
    pub late: Vec<usize>,
    /// Not counted.
    pub refusals: Vec<(usize, UsageRefusal)>,
}

impl Ingested {
    /// What became of the parts of a batch that was put together of so many records each; each part by its own indexes.
    pub fn split(self, lengths: &[usize]) -> Vec<Self> {
        let mut parts: Vec<Self> = lengths.iter().map(|_| Self::default()).collect();
        let mut ends = Vec::with_capacity(lengths.len());
        let mut end = 0;
        for length in lengths {
            end += length;
            ends.push(end);
        }
        let mut put = |index: usize, put: &mut dyn FnMut(&mut Self, usize)| {
            let place = ends.partition_point(|end| *end <= index);
            let start = place.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
            if let Some(part) = parts.get_mut(place) {
                put(part, index - start);
            }
        };
        self.accepted.into_iter().for_each(|index| put(index, &mut |part, own| part.accepted.push(own)));
        self.duplicates.into_iter().for_each(|index| put(index, &mut |part, own| part.duplicates.push(own)));
        self.late.into_iter().for_each(|index| put(index, &mut |part, own| part.late.push(own)));
        for (index, refusal) in self.refusals {
            put(index, &mut |part, own| part.refusals.push((own, refusal.clone())));
        }
        parts
    }
}

/// An admitted record and its place in the batch, with the later records of the batch that have its id.
struct Candidate {
    index: usize,
    item: String,
    record: NewRecord,
    repeats: Vec<(usize, i64)>,
    /// Its workspace is gone: after the seal of the day nothing is taken for it.
    refuses_late: bool,
    /// Of a trial: the meter, and what its day's sum is held to.
    quota: Option<(String, i64)>,
}

impl Candidate {
    /// Judges the record and its repeats by the fingerprint that is stored for their id: equal ones are counted already, the others
    /// reuse the id. `is_new`: the record itself was counted now.
    fn judge(&self, stored: i64, is_new: bool, ingested: &mut Ingested) {
        let own = (!is_new).then_some((self.index, self.record.fingerprint));
        for (index, fingerprint) in own.into_iter().chain(self.repeats.iter().copied()) {
            if fingerprint == stored {
                ingested.duplicates.push(index);
            } else {
                ingested.refusals.push((index, UsageRefusal::EventIdReused));
            }
        }
    }

    /// The record and its repeats share a refusal.
    fn refuse(&self, refusal: &UsageRefusal, ingested: &mut Ingested) {
        let indexes = std::iter::once(self.index).chain(self.repeats.iter().map(|(index, _)| *index));
        ingested.refusals.extend(indexes.map(|index| (index, refusal.clone())));
    }

    fn counter(&self) -> Counter {
        (self.record.key.workspace_id, self.record.key.usage_date, self.record.meter_id)
    }

    fn fed(&self) -> Fed {
        (self.record.key.workspace_id, self.record.key.usage_date, self.item.clone())
    }
}

/// A batch that met a change of source mode is tried again so often.
const TRIES_MAX: usize = 3;

/// Commits what is admitted of a batch. `parsed` has a refusal already where a record was malformed.
pub async fn ingest_usage(
    app: &App,
    parsed: &[Result<UsageRecord, UsageRefusal>],
) -> Result<Ingested, Failure<Refusal>> {
    for _ in 0..TRIES_MAX {
        let (candidates, ingested) = admit_all(app, parsed).await?;
        if let Some(ingested) = commit(app, candidates, ingested).await? {
            fault::point("ingest.committed");
            return Ok(ingested);
        }
    }
    Err(Failure::Transient(
        anyhow::anyhow!("records and points race for the same items").context("usage sources"),
    ))
}

async fn admit_all(
    app: &App,
    parsed: &[Result<UsageRecord, UsageRefusal>],
) -> Result<(Vec<Candidate>, Ingested), Failure<Refusal>> {
    let meters = app.meters().await?;
    let ids: HashSet<_> = parsed.iter().flatten().map(|record| record.workspace_id.uuid()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let intakes = store::workspaces::intakes(&mut *app.pool.acquire().await?, &ids).await?;
    let now = app.clock.now();
    let mut ingested = Ingested::default();
    let mut candidates: Vec<Candidate> = Vec::with_capacity(parsed.len());
    let mut seen: HashMap<Key, usize> = HashMap::new();
    for (index, parsed) in parsed.iter().enumerate() {
        let admitted = parsed.as_ref().map_err(Clone::clone).and_then(|record| {
            let intake = intakes.get(&record.workspace_id);
            let meter = admit(record.event_time, &record.meter, &record.dimension, intake, &meters, now)?;
            let trial = intake.filter(|intake| intake.is_trial_at(record.event_time));
            let quota = trial.map(|_| check(meter, record.quantity)).transpose()?.flatten();
            Ok((record, meter, quota, intake.is_some_and(|intake| intake.refuses_late(now))))
        });
        let (record, meter, quota, refuses_late) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                ingested.refusals.push((index, refusal));
                continue;
            }
        };
        let key = Key {
            event_id: record.event_id,
            workspace_id: record.workspace_id,
            usage_date: record.usage_date(),
        };
        let fingerprint = record.fingerprint();
        let first = *seen.entry(key).or_insert(candidates.len());
        if let Some(candidate) = candidates.get_mut(first) {
            candidate.repeats.push((index, fingerprint));
            continue;
        }
        let record = NewRecord {
            key,
            event_time: record.event_time,
            meter_id: meter.meter_id,
            dimension: record.dimension.clone(),
            quantity: record.quantity,
            fingerprint,
            is_late: false,
        };
        let item = meter.item.clone();
        let quota = quota.map(|quota| (meter.meter.clone(), quota));
        candidates.push(Candidate { index, item, record, repeats: Vec::new(), refuses_late, quota });
    }
    Ok((candidates, ingested))
}

/// None: points were reported for one of the items at the same moment; nothing was committed.
async fn commit(
    app: &App,
    mut candidates: Vec<Candidate>,
    mut ingested: Ingested,
) -> Result<Option<Ingested>, Failure<Refusal>> {
    let days: BTreeSet<UsageDate> =
        candidates.iter().map(|candidate| candidate.record.key.usage_date).collect();
    app.have_partitions(&days).await?;
    let mut tx = app.pool.begin().await?;
    let closed = hold_fences(&mut tx, &days).await?;
    candidates.iter_mut().for_each(|c| c.record.is_late = closed.contains(&c.record.key.usage_date.date()));
    let (candidates, gone): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| !(candidate.refuses_late && candidate.record.is_late));
    gone.iter().for_each(|candidate| candidate.refuse(&UsageRefusal::WorkspaceClosed, &mut ingested));
    let fed: HashSet<Fed> = candidates.iter().map(Candidate::fed).collect();
    let fed: Vec<Fed> = fed.into_iter().collect();
    let modes = store::usage_sources::list(&mut tx, &fed).await?;
    let (kept, refused): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| modes.get(&candidate.fed()) != Some(&Mode::Points));
    refused.iter().for_each(|candidate| candidate.refuse(&UsageRefusal::SourceMode, &mut ingested));
    let kept = hold_to_quotas(&mut tx, kept, &mut ingested).await?;

    let records: Vec<NewRecord> = kept.iter().map(|candidate| candidate.record.clone()).collect();
    let inserted = store::usage_records::insert_new(&mut tx, &records).await?;
    let (new, old): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|candidate| inserted.contains(&candidate.record.key));
    let keys: Vec<Key> = old.iter().map(|candidate| candidate.record.key).collect();
    let known = store::usage_records::fingerprints(&mut tx, &keys).await?;
    for candidate in &old {
        match known.get(&candidate.record.key) {
            Some(stored) => candidate.judge(*stored, false, &mut ingested),
            None => return Err(chassis::bug!("{:?} was neither inserted nor there", candidate.record.key)),
        }
    }
    new.iter().for_each(|candidate| candidate.judge(candidate.record.fingerprint, true, &mut ingested));
    count_against_quotas(&mut tx, &new).await?;
    let fed: HashSet<Fed> = new.iter().map(Candidate::fed).filter(|fed| !modes.contains_key(fed)).collect();
    if !claim_sources(&mut tx, fed.into_iter().collect(), Mode::Records).await? {
        return Ok(None);
    }
    ingested.accepted = new.iter().map(|candidate| candidate.index).collect();
    let late = new.iter().filter(|candidate| candidate.record.is_late);
    ingested.late = late.map(|candidate| candidate.index).collect();
    fault::point("ingest.before_commit");
    tx.commit().await?;
    ingested.refusals.sort_unstable_by_key(|(index, _)| *index);
    Ok(Some(ingested))
}

/// Refuses what does not fit into a trial's quota, in the order of the batch. What was counted before passes: it takes nothing.
async fn hold_to_quotas(
    connection: &mut PgConnection,
    candidates: Vec<Candidate>,
    ingested: &mut Ingested,
) -> sqlx::Result<Vec<Candidate>> {
    let limited: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.quota.is_some()).collect();
    if limited.is_empty() {
        return Ok(candidates);
    }
    let held: BTreeSet<Counter> = limited.iter().map(|candidate| candidate.counter()).collect();
    let keys: Vec<Key> = limited.iter().map(|candidate| candidate.record.key).collect();
    let used = store::trial_usage::hold(&mut *connection, &held).await?;
    let known = store::usage_records::fingerprints(connection, &keys).await?;
    let mut counters = Counters { used, ..Counters::default() };
    let mut kept = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match &candidate.quota {
            Some((meter, quota))
                if !known.contains_key(&candidate.record.key)
                    && !counters.take(candidate.counter(), candidate.record.quantity, *quota) =>
            {
                candidate.refuse(&used_up(meter, *quota), ingested);
            }
            _ => kept.push(candidate),
        }
    }
    Ok(kept)
}

/// Counts what was inserted against the quotas that are held.
async fn count_against_quotas(connection: &mut PgConnection, new: &[Candidate]) -> sqlx::Result<()> {
    let mut added: BTreeMap<Counter, i64> = BTreeMap::new();
    for candidate in new.iter().filter(|candidate| candidate.quota.is_some()) {
        *added.entry(candidate.counter()).or_insert(0) += candidate.record.quantity;
    }
    store::trial_usage::add(connection, &added).await
}

/// Holds the fences of these days, and answers which are closed: what a transaction sees as closed is late.
pub async fn hold_fences(
    connection: &mut PgConnection,
    days: &BTreeSet<UsageDate>,
) -> sqlx::Result<HashSet<time::Date>> {
    for day in days {
        store::day_fences::hold_open(&mut *connection, *day).await?;
    }
    let dates: Vec<_> = days.iter().map(|day| day.date()).collect();
    Ok(store::day_fences::closed_among(connection, &dates).await?.into_iter().collect())
}

/// Says how these items are fed from now on. False: another transaction has said otherwise in the meantime.
pub async fn claim_sources(connection: &mut PgConnection, fed: Vec<Fed>, mode: Mode) -> sqlx::Result<bool> {
    if fed.is_empty() {
        return Ok(true);
    }
    store::usage_sources::insert_missing(&mut *connection, &fed, mode).await?;
    let modes = store::usage_sources::list(connection, &fed).await?;
    Ok(fed.iter().all(|fed| modes.get(fed) == Some(&mode)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a batch was put together, each record's outcome comes to the one who sent it, under his own index.
        #[test]
        fn each_part_hears_of_its_own_records(lengths in prop::collection::vec(0_usize..6, 0..8), seed in any::<u64>()) {
            let count: usize = lengths.iter().sum();
            let kind = |index: usize| (seed >> (index % 61)) & 3;
            let of = |wanted: u64| (0..count).filter(|index| kind(*index) == wanted).collect::<Vec<_>>();
            let whole = Ingested {
                accepted: of(0),
                duplicates: of(1),
                late: of(0),
                refusals: of(2).into_iter().map(|index| (index, UsageRefusal::SourceMode)).collect(),
            };
            let parts = whole.split(&lengths);
            prop_assert_eq!(parts.len(), lengths.len());
            let mut start = 0;
            for (part, length) in parts.iter().zip(&lengths) {
                let own = |wanted: u64| (0..*length).filter(|own| kind(start + own) == wanted).collect::<Vec<_>>();
                prop_assert_eq!(&part.accepted, &own(0));
                prop_assert_eq!(&part.late, &own(0));
                prop_assert_eq!(&part.duplicates, &own(1));
                prop_assert_eq!(part.refusals.iter().map(|(index, _)| *index).collect::<Vec<_>>(), own(2));
                start += length;
            }
        }
    }
}
