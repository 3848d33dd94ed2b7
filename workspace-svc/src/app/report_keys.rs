//! Takes keys in: each counts once, however often and in whatever order it is seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::fault;
use chassis::status::Refusal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use super::ingest_usage::claim_sources;
use crate::domain::closure::Intake;
use crate::domain::meter::{Counting, Meter, Meters};
use crate::domain::sellable::{Book, Sellables};
use crate::domain::trial::{Counter, Counters, check, used_up};
use crate::domain::usage_key::{KeyPlace, Seen, UsageKey};
use crate::domain::usage_record::{UsageRefusal, admit, counted, unsold_in};
use crate::store;
use crate::store::late_usage::LateCounts;
use crate::store::usage_deltas::{Delta, Slot};
use crate::store::usage_sources::{Fed, Mode};

/// What became of a batch.
#[derive(Debug, Default)]
pub struct ReportedKeys {
    /// They count now.
    pub new_count: usize,
    /// They were known.
    pub known_count: usize,
    /// New after their day was closed.
    pub late_count: usize,
    /// Not taken, by index.
    pub refusals: Vec<(usize, UsageRefusal)>,
}

struct Candidate<'a> {
    index: usize,
    meter: &'a Meter,
    place: KeyPlace,
    hour: u8,
    counted: i64,
    refuses_late: bool,
    quota: Option<i64>,
    unsold_in: Option<Book>,
}

impl Candidate<'_> {
    fn fed(&self) -> Fed {
        (self.place.workspace_id, self.place.usage_date, self.meter.item.clone())
    }

    fn counter(&self) -> Counter {
        (self.place.workspace_id, self.place.usage_date, self.meter.measure_id)
    }
}

/// A batch that met another one's keys is tried again so often.
const TRIES_MAX: usize = 5;

/// Commits what is admitted of a batch.
pub async fn report_keys(
    app: &App,
    parsed: &[Result<UsageKey, UsageRefusal>],
) -> Result<ReportedKeys, Failure<Refusal>> {
    let (meters, sellables) = (app.meters().await?, app.sellables().await?);
    for _ in 0..TRIES_MAX {
        let ids: HashSet<Uuid> = parsed.iter().flatten().map(|key| key.workspace_id.uuid()).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let intakes = store::workspaces::intakes(&mut *app.pool.acquire().await?, &ids).await?;
        let now = app.clock.now();
        let mut reported = ReportedKeys::default();
        let mut candidates = Vec::with_capacity(parsed.len());
        for (index, parsed) in parsed.iter().enumerate() {
            let admitted = match parsed {
                Ok(key) => candidate(
                    index,
                    key,
                    intakes.get(&key.workspace_id).map(Arc::as_ref),
                    (&meters, &sellables),
                    now,
                ),
                Err(refusal) => Err(refusal.clone()),
            };
            match admitted {
                Ok(candidate) => candidates.push(candidate),
                Err(refusal) => reported.refusals.push((index, refusal)),
            }
        }
        if let Some(reported) = commit(app, candidates, reported).await? {
            return Ok(reported);
        }
    }
    Err(Failure::Transient(anyhow::anyhow!("others report the same keys").context("usage keys")))
}

fn candidate<'a>(
    index: usize,
    key: &UsageKey,
    intake: Option<&Intake>,
    (meters, sellables): (&'a Meters, &Sellables),
    now: OffsetDateTime,
) -> Result<Candidate<'a>, UsageRefusal> {
    let meter = admit(key.event_time, &key.meter, &key.dimension, intake, meters, now)?;
    if meter.counting == Counting::Quantity {
        let problem = format!("{} is counted by quantity: report it with Ingest", meter.meter);
        return Err(UsageRefusal::Malformed { field: "meter", problem });
    }
    if meter.steps.is_none() && key.size != 0 {
        let problem = format!("must be empty for the meter {}", meter.meter);
        return Err(UsageRefusal::Malformed { field: "size", problem });
    }
    let counted = if meter.steps.is_none() { 1 } else { counted(meter, key.size)? };
    let trial = intake.filter(|intake| intake.is_trial_at(key.event_time));
    let quota = trial.map(|_| check(meter, counted)).transpose()?.flatten();
    Ok(Candidate {
        index,
        meter,
        place: KeyPlace {
            key_hash: key.key_hash,
            workspace_id: key.workspace_id,
            meter_id: meter.meter_id,
            dimension: key.dimension.clone(),
            usage_date: UsageDate::of(key.event_time),
        },
        hour: UsageDate::hour_of(key.event_time),
        counted,
        refuses_late: intake.is_some_and(|intake| intake.refuses_late(now)),
        quota,
        unsold_in: unsold_in(meter, intake, key.event_time, sellables).filter(|_| counted > 0),
    })
}

/// None: others reported the same keys, or points of one of the items, at the same moment; nothing was committed.
async fn commit(
    app: &App,
    mut candidates: Vec<Candidate<'_>>,
    mut reported: ReportedKeys,
) -> Result<Option<ReportedKeys>, Failure<Refusal>> {
    let days: BTreeSet<UsageDate> = candidates.iter().map(|candidate| candidate.place.usage_date).collect();
    app.have_partitions(&mut *app.pool.acquire().await?, &days).await?;
    let mut tx = app.pool.begin().await?;
    let closed = store::day_fences::hold_open(&mut tx, &days).await?;
    let fed: HashSet<Fed> = candidates.iter().map(Candidate::fed).collect();
    let fed: Vec<Fed> = fed.into_iter().collect();
    let modes = store::usage_sources::list(&mut tx, &fed).await?;
    candidates.retain(|candidate| {
        let gone = candidate.refuses_late && closed.contains(&candidate.place.usage_date);
        let refusal = match () {
            () if gone => UsageRefusal::WorkspaceClosed,
            () if modes.get(&candidate.fed()) == Some(&Mode::Points) => UsageRefusal::SourceMode,
            () => return true,
        };
        reported.refusals.push((candidate.index, refusal));
        false
    });
    let mut counters = hold_counters(&mut tx, &candidates).await?;
    let places: BTreeSet<KeyPlace> = candidates.iter().map(|candidate| candidate.place.clone()).collect();
    let places: Vec<KeyPlace> = places.into_iter().collect();
    let known = store::usage_keys::list(&mut tx, &places).await?;
    let changes = judge(&candidates, &known, &closed, &mut counters, &mut reported);
    if !write(&mut tx, &known, &changes.then).await? {
        return Ok(None);
    }
    store::trial_usage::add(&mut tx, &counters.added).await?;
    add_up(app, &mut tx, &known, &changes, &closed).await?;
    let fed = changes.fed.into_iter().filter(|fed| !modes.contains_key(fed)).collect();
    if !claim_sources(&mut tx, fed, Mode::Records).await? {
        return Ok(None);
    }
    fault::point("keys.before_commit");
    tx.commit().await?;
    reported.refusals.sort_unstable_by_key(|(index, _)| *index);
    Ok(Some(reported))
}

async fn hold_counters(
    connection: &mut PgConnection,
    candidates: &[Candidate<'_>],
) -> sqlx::Result<Counters> {
    let limited = candidates.iter().filter(|candidate| candidate.quota.is_some());
    let held: BTreeSet<Counter> = limited.map(Candidate::counter).collect();
    let used = match held.is_empty() {
        true => BTreeMap::new(),
        false => store::trial_usage::hold(connection, &held).await?,
    };
    Ok(Counters { used, ..Counters::default() })
}

/// What a batch changes.
struct Changes<'a> {
    /// What is known of the keys then.
    then: BTreeMap<&'a KeyPlace, (Seen, Counting)>,
    /// The items that it feeds.
    fed: HashSet<Fed>,
}

/// One key after the other, in the order of the batch.
fn judge<'a>(
    candidates: &'a [Candidate<'_>],
    known: &HashMap<KeyPlace, Seen>,
    closed: &HashSet<UsageDate>,
    counters: &mut Counters,
    reported: &mut ReportedKeys,
) -> Changes<'a> {
    let mut changes = Changes { then: BTreeMap::new(), fed: HashSet::new() };
    for candidate in candidates {
        let before = changes.then.get(&candidate.place).map(|(seen, _)| *seen);
        let before = before.or_else(|| known.get(&candidate.place).copied()).unwrap_or_default();
        let is_late = closed.contains(&candidate.place.usage_date);
        let then = before.with(candidate.hour, candidate.counted, is_late);
        let gains = before.gains(then, candidate.meter.counting);
        if gains.is_empty() {
            reported.known_count += 1;
            continue;
        }
        if let Some(book) = candidate.unsold_in {
            let item = candidate.meter.item.clone();
            reported.refusals.push((candidate.index, UsageRefusal::NotSold { item, book }));
            continue;
        }
        let whole_day = candidate.meter.counting == Counting::DistinctDay;
        let takes =
            gains.iter().filter(|((hour, _), _)| (*hour == 24) == whole_day).map(|(_, gain)| gain).sum();
        if let Some(quota) = candidate.quota
            && !counters.take(candidate.counter(), takes, quota)
        {
            reported.refusals.push((candidate.index, used_up(&candidate.meter.meter, quota)));
            continue;
        }
        reported.new_count += usize::from(takes > 0);
        reported.known_count += usize::from(takes == 0);
        reported.late_count += usize::from(takes > 0 && is_late);
        changes.then.insert(&candidate.place, (then, candidate.meter.counting));
        changes.fed.insert(candidate.fed());
    }
    changes
}

/// False: something is not what was read any more.
async fn write(
    connection: &mut PgConnection,
    known: &HashMap<KeyPlace, Seen>,
    then: &BTreeMap<&KeyPlace, (Seen, Counting)>,
) -> sqlx::Result<bool> {
    let mut updates = Vec::new();
    let mut inserts = Vec::new();
    for (place, (seen, _)) in then {
        match known.get(*place) {
            Some(was) => updates.push((*place, *was, *seen)),
            None => inserts.push((*place, *seen)),
        }
    }
    let updated = store::usage_keys::update(&mut *connection, &updates).await?;
    let inserted = store::usage_keys::insert(connection, &inserts).await?;
    Ok(usize::try_from(updated) == Ok(updates.len()) && usize::try_from(inserted) == Ok(inserts.len()))
}

/// What the changes add to the hours, and to what is late.
async fn add_up(
    app: &App,
    connection: &mut PgConnection,
    known: &HashMap<KeyPlace, Seen>,
    changes: &Changes<'_>,
    closed: &HashSet<UsageDate>,
) -> sqlx::Result<()> {
    let mut deltas: HashMap<Slot<'_>, Delta> = HashMap::new();
    let mut late: BTreeMap<_, LateCounts> = BTreeMap::new();
    for (place, (then, counting)) in &changes.then {
        let was = known.get(*place).copied().unwrap_or_default();
        for ((hour, is_late), gain) in was.gains(*then, *counting) {
            let slot = Slot {
                workspace_id: place.workspace_id,
                usage_date: place.usage_date,
                meter_id: place.meter_id,
                dimension: &place.dimension,
                hour,
                is_late,
            };
            deltas.entry(slot).or_default().add(gain);
        }
        let changed =
            if *counting == Counting::DistinctDay { then.counted != was.counted } else { then != &was };
        if changed && closed.contains(&place.usage_date) {
            late.entry((place.workspace_id, place.usage_date)).or_default().keys += 1;
        }
    }
    store::usage_deltas::insert(&mut *connection, &deltas).await?;
    store::late_usage::add(connection, &late, app.clock.now()).await
}
