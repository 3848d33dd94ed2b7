//! Takes a batch of records in, exactly once. One that is bad is refused by its index; the rest is committed together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::App;
use super::admit_records::{Candidate, admit_records, named_in};
use super::ingest_known::ingest_known;
use crate::domain::meter::Meters;
use crate::domain::sellable::Sellables;
use crate::domain::trial::{Counter, Counters, used_up};
use crate::domain::usage_record::{UsageRecord, UsageRefusal};
use crate::store;
use crate::store::late_usage::LateCounts;
use crate::store::usage_deltas::{Delta, Slot};
use crate::store::usage_records::{Copied, Key};
use crate::store::usage_sources::{Fed, Mode};
use crate::store::usage_suspects::Suspect;

/// Why a batch is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestRejection {
    /// Too many records of its caller wait already.
    LineFull {
        /// So many may.
        records_max: usize,
    },
}

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

/// A batch that met another one's records, or a change of source mode, is tried again so often.
const TRIES_MAX: usize = 5;
/// So many transactions after one that met a record which was there look first whether theirs are.
const PROBED_AFTER_DUPLICATE: u32 = 64;

/// Whether records are written at once, or looked for first. Writing at once is cheapest while nothing is sent twice, and wasted when something is.
#[derive(Debug, Default)]
pub struct Habit {
    probes_left: AtomicU32,
}

impl Habit {
    /// Whether the next transaction looks first.
    pub fn will_probe(&self) -> bool {
        self.probes_left.load(Ordering::Relaxed) > 0
    }

    fn probes(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.probes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// The next transactions look first.
    pub fn met_duplicate(&self) {
        self.probes_left.store(PROBED_AFTER_DUPLICATE, Ordering::Relaxed);
    }
}

/// Commits what is admitted of a batch. `parsed` has a refusal already where a record was malformed.
pub async fn ingest_usage(
    app: &App,
    connection: &mut PgConnection,
    parsed: &[Result<UsageRecord, UsageRefusal>],
) -> Result<Ingested, Failure<IngestRejection>> {
    let meters = app.meters_over(connection).await?;
    let sellables = app.sellables_over(connection).await?;
    if let Some(ingested) = ingest_known(app, connection, (&meters, &sellables), parsed).await? {
        fault::point("ingest.committed");
        return Ok(ingested);
    }
    for _ in 0..TRIES_MAX {
        if let Some(ingested) = commit(app, connection, (&meters, &sellables), parsed).await? {
            fault::point("ingest.committed");
            return Ok(ingested);
        }
    }
    Err(Failure::Transient(
        anyhow::anyhow!("others report the same records, or points of the same items")
            .context("usage records"),
    ))
}

/// None: others reported the same records, or points for one of the items, at the same moment; nothing was committed.
async fn commit(
    app: &App,
    connection: &mut PgConnection,
    rules: (&Meters, &Sellables),
    parsed: &[Result<UsageRecord, UsageRefusal>],
) -> Result<Option<Ingested>, Failure<IngestRejection>> {
    let now = app.clock.now();
    let (days, ids) = named_in(parsed, now);
    app.have_partitions(connection, &days).await?;
    let mut tx = connection.begin().await?;
    let (closed, intakes) = store::workspaces::hold_intakes(&mut tx, &days, &ids).await?;
    let (mut candidates, mut ingested) = admit_records(rules, &intakes, parsed, now).await;
    mark_late(&closed, &mut candidates, &mut ingested);
    let (asked, unknown) = hold_sources(app, &mut tx, &mut candidates, &mut ingested).await?;
    let candidates = leave_unsold(&mut tx, candidates, &mut ingested).await?;
    let candidates = leave_known(app, &mut tx, candidates, &mut ingested).await?;
    let rows = candidates.iter().map(Candidate::row);
    if store::usage_records::copy_new(&mut tx, rows).await? == Copied::SomeWereThere {
        app.habit.met_duplicate();
        return Ok(None);
    }
    candidates.iter().for_each(|new| new.judge(new.fingerprint, true, &mut ingested));
    add_up(app, &mut tx, &candidates).await?;
    note_suspects(app, &mut tx, &candidates).await?;
    let fed: HashSet<Fed> = match unknown.is_empty() {
        true => HashSet::new(),
        false => candidates.iter().map(Candidate::fed).filter(|fed| unknown.contains(fed)).collect(),
    };
    if !claim_sources(&mut tx, fed.into_iter().collect(), Mode::Records).await? {
        return Ok(None);
    }
    fault::point("ingest.before_commit");
    tx.commit().await?;
    if asked {
        app.sources.remember(&candidates);
    }
    ingested.accepted = candidates.iter().map(|candidate| candidate.index).collect();
    let late = candidates.iter().filter(|candidate| candidate.is_late);
    ingested.late = late.map(|candidate| candidate.index).collect();
    ingested.refusals.sort_unstable_by_key(|(index, _)| *index);
    Ok(Some(ingested))
}

/// What comes after its day was closed is late; of a workspace that is gone it is refused.
fn mark_late(closed: &HashSet<UsageDate>, candidates: &mut Vec<Candidate<'_>>, ingested: &mut Ingested) {
    if closed.is_empty() {
        return;
    }
    candidates
        .iter_mut()
        .for_each(|candidate| candidate.is_late = closed.contains(&candidate.key.usage_date));
    candidates.retain(|candidate| {
        let gone = candidate.refuses_late && candidate.is_late;
        if gone {
            candidate.refuse(&UsageRefusal::WorkspaceClosed, ingested);
        }
        !gone
    });
}

/// Refuses what is fed by points. Answers whether the database was asked, and the items of which nobody has said yet how they are fed.
async fn hold_sources(
    app: &App,
    connection: &mut PgConnection,
    candidates: &mut Vec<Candidate<'_>>,
    ingested: &mut Ingested,
) -> sqlx::Result<(bool, HashSet<Fed>)> {
    let asked = app.sources.unknown(candidates);
    if asked.is_empty() {
        return Ok((false, asked));
    }
    let fed: Vec<Fed> = asked.iter().cloned().collect();
    let modes = store::usage_sources::list(connection, &fed).await?;
    candidates.retain(|candidate| {
        let by_points = modes.get(&candidate.fed()) == Some(&Mode::Points);
        if by_points {
            candidate.refuse(&UsageRefusal::SourceMode, ingested);
        }
        !by_points
    });
    Ok((true, asked.into_iter().filter(|fed| !modes.contains_key(fed)).collect()))
}

/// Refuses what is not sold. What was counted before, while nobody knew, stays so.
async fn leave_unsold<'a>(
    connection: &mut PgConnection,
    candidates: Vec<Candidate<'a>>,
    ingested: &mut Ingested,
) -> sqlx::Result<Vec<Candidate<'a>>> {
    if candidates.iter().all(|candidate| candidate.unsold_in.is_none()) {
        return Ok(candidates);
    }
    let (unsold, sold): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.unsold_in.is_some());
    let keys: Vec<Key> = unsold.iter().map(|candidate| candidate.key).collect();
    let known = store::usage_records::probe(connection, &keys).await?;
    for (candidate, known) in unsold.iter().zip(known) {
        match (known, candidate.unsold_in) {
            (Some(stored), _) => candidate.judge(stored.fingerprint, false, ingested),
            (None, Some(book)) => {
                let item = candidate.meter.item.clone();
                candidate.refuse(&UsageRefusal::NotSold { item, book }, ingested);
            }
            (None, None) => {}
        }
    }
    Ok(sold)
}

/// Looks for what is there, when something may be, and judges it; then refuses what does not fit into a trial's quota. What was counted before takes
/// nothing from a quota.
async fn leave_known<'a>(
    app: &App,
    connection: &mut PgConnection,
    candidates: Vec<Candidate<'a>>,
    ingested: &mut Ingested,
) -> Result<Vec<Candidate<'a>>, Failure<IngestRejection>> {
    let limited = candidates.iter().filter(|candidate| candidate.quota.is_some());
    let held: BTreeSet<Counter> = limited.map(Candidate::counter).collect();
    let used = match held.is_empty() {
        true => BTreeMap::new(),
        false => store::trial_usage::hold(&mut *connection, &held).await?,
    };
    if !app.habit.probes() && held.is_empty() {
        return Ok(candidates);
    }
    let keys: Vec<Key> = candidates.iter().map(|candidate| candidate.key).collect();
    let known = store::usage_records::probe(&mut *connection, &keys).await?;
    if known.iter().any(Option::is_some) {
        app.habit.met_duplicate();
    }
    let mut new = Vec::with_capacity(candidates.len());
    for (candidate, known) in candidates.into_iter().zip(known) {
        match known {
            Some(stored) => candidate.judge(stored.fingerprint, false, ingested),
            None => new.push(candidate),
        }
    }
    if held.is_empty() {
        return Ok(new);
    }
    let mut counters = Counters { used, ..Counters::default() };
    // In the order of the batch, whatever the ids are.
    new.sort_unstable_by_key(|candidate| candidate.index);
    new.retain(|candidate| match candidate.quota {
        Some(quota) if !counters.take(candidate.counter(), candidate.counted, quota) => {
            candidate.refuse(&used_up(&candidate.meter.meter, quota), ingested);
            false
        }
        _ => true,
    });
    new.sort_unstable_by_key(|candidate| candidate.key);
    store::trial_usage::add(connection, &counters.added).await?;
    Ok(new)
}

/// What the new records add to their hours, and to what is late.
async fn add_up(
    app: &App,
    connection: &mut PgConnection,
    new: &[Candidate<'_>],
) -> Result<(), Failure<IngestRejection>> {
    let mut late: BTreeMap<_, LateCounts> = BTreeMap::new();
    for candidate in new.iter().filter(|candidate| candidate.is_late) {
        let place = (candidate.key.workspace_id, candidate.key.usage_date);
        late.entry(place).or_default().records += 1;
    }
    store::usage_deltas::insert(&mut *connection, &deltas(new)).await?;
    store::late_usage::add(connection, &late, app.clock.now()).await?;
    Ok(())
}

/// What new records add to their hours.
pub fn deltas<'a>(new: &'a [Candidate<'_>]) -> HashMap<Slot<'a>, Delta, foldhash::fast::RandomState> {
    let mut deltas: HashMap<Slot<'_>, Delta, _> = HashMap::default();
    for candidate in new {
        let slot = Slot {
            workspace_id: candidate.key.workspace_id,
            usage_date: candidate.key.usage_date,
            meter_id: candidate.meter.measure_id,
            dimension: &candidate.record.dimension,
            hour: i16::from(UsageDate::hour_of(candidate.record.event_time)),
            is_late: candidate.is_late,
        };
        deltas.entry(slot).or_default().add(candidate.counted);
    }
    deltas
}

/// A producer that makes the time of an event anew when it sends it again does so within this of midnight, or is not noticed.
const NEAR_MIDNIGHT: time::Duration = time::Duration::HOUR;

/// Records near midnight, each with the key that its id has on the neighbouring day.
pub fn near_midnight(new: &[Candidate<'_>]) -> Vec<(Key, Key)> {
    let mut near = Vec::new();
    for of_day in new.chunk_by(|one, next| one.key.usage_date == next.key.usage_date) {
        let Some(day) = of_day.first().map(|first| first.key.usage_date) else { continue };
        let (early, late) = (day.start() + NEAR_MIDNIGHT, day.end() - NEAR_MIDNIGHT);
        for candidate in of_day {
            let other = match candidate.record.event_time {
                time if time < early => day.plus_days(-1),
                time if time >= late => day.plus_days(1),
                _ => continue,
            };
            near.push((candidate.key, Key { usage_date: other, ..candidate.key }));
        }
    }
    near
}

/// Notes ids that were counted on the neighbouring day, both near midnight: perhaps one event, never refused for it.
async fn note_suspects(
    app: &App,
    connection: &mut PgConnection,
    new: &[Candidate<'_>],
) -> Result<(), Failure<IngestRejection>> {
    let asked = near_midnight(new);
    if asked.is_empty() {
        return Ok(());
    }
    let keys: Vec<Key> = asked.iter().map(|(_, other)| *other).collect();
    let known = store::usage_records::probe(&mut *connection, &keys).await?;
    let near = |key: &Key, time: OffsetDateTime| {
        (time - key.usage_date.start()).abs() <= NEAR_MIDNIGHT
            || (key.usage_date.end() - time).abs() <= NEAR_MIDNIGHT
    };
    let found = asked.iter().zip(known).filter_map(|(pair, known)| Some((pair, known?)));
    let suspects: Vec<Suspect> = found
        .filter(|((key, _), stored)| near(key, stored.event_time))
        .map(|((key, other), _)| Suspect {
            workspace_id: key.workspace_id,
            usage_date: key.usage_date,
            event_id: key.event_id,
            other_date: other.usage_date,
        })
        .collect();
    if !suspects.is_empty() {
        store::usage_suspects::insert(connection, &suspects, app.clock.now()).await?;
    }
    Ok(())
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
