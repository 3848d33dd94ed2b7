//! Takes hourly points in: of each place the highest revision holds, whatever the order of arrival (DEC-8).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::status::Refusal;
use sqlx::PgConnection;
use time::Duration;

use super::App;
use super::ingest_usage::claim_sources;
use crate::domain::sellable::Book;
use crate::domain::trial::{Counter, Counters, check, used_up};
use crate::domain::usage_point::{Place, Reading, UsagePoint, Verdict, check_point, judge, judge_batch};
use crate::domain::usage_record::{UsageRefusal, admit, check_count_from, unsold_in};
use crate::store;
use crate::store::late_usage::LateCounts;
use crate::store::usage_sources::{Fed, Mode};

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Reported {
    /// They hold now.
    pub accepted_count: usize,
    /// Known already, or older than what is known.
    pub superseded_count: usize,
    /// Accepted after their day was closed.
    pub late_count: usize,
    /// Not taken, by index.
    pub refusals: Vec<(usize, UsageRefusal)>,
}

struct Candidate {
    index: usize,
    item: String,
    place: Place,
    reading: Reading,
    /// Its workspace is gone: after the seal of the day nothing is taken for it.
    refuses_late: bool,
    /// Of a trial: the meter, and what its day's sum is held to.
    quota: Option<(String, i64)>,
    /// It is refused unless its place has a point: this book does not sell its item.
    unsold_in: Option<Book>,
}

impl Candidate {
    fn counter(&self) -> Counter {
        (self.place.workspace_id, self.place.usage_date, self.place.meter_id)
    }

    fn fed(&self) -> Fed {
        (self.place.workspace_id, self.place.usage_date, self.item.clone())
    }
}

const TRIES_MAX: usize = 5;

/// Commits what is admitted of a batch.
pub async fn report_points(
    app: &App,
    parsed: Vec<Result<UsagePoint, UsageRefusal>>,
) -> Result<Reported, Failure<Refusal>> {
    for _ in 0..TRIES_MAX {
        let (candidates, reported) = admit_all(app, &parsed).await?;
        if let Some(reported) = commit(app, candidates, reported).await? {
            return Ok(reported);
        }
    }
    Err(Failure::Transient(anyhow::anyhow!("others report the same points").context("usage points")))
}

async fn admit_all(
    app: &App,
    parsed: &[Result<UsagePoint, UsageRefusal>],
) -> Result<(Vec<Candidate>, Reported), Failure<Refusal>> {
    let (meters, sellables) = (app.meters().await?, app.sellables().await?);
    let ids: HashSet<_> = parsed.iter().flatten().map(|point| point.workspace_id.uuid()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let intakes = store::workspaces::intakes(&mut *app.pool.acquire().await?, &ids).await?;
    let now = app.clock.now();
    let mut reported = Reported::default();
    let mut candidates = Vec::with_capacity(parsed.len());
    for (index, parsed) in parsed.iter().enumerate() {
        let admitted = parsed.as_ref().map_err(Clone::clone).and_then(|point| {
            let intake = intakes.get(&point.workspace_id).map(Arc::as_ref);
            let meter = admit(point.hour_time, &point.meter, &point.dimension, intake, &meters, now)?;
            check_point(point.retention_days, meter)?;
            if let Some(intake) = intake {
                // A point stands for its whole hour.
                let last = point.hour_time + Duration::HOUR - Duration::MICROSECOND;
                check_count_from(meter, intake, last, point.count_from)?;
            }
            let trial = intake.filter(|intake| intake.is_trial_at(point.hour_time));
            let quota = trial.map(|_| check(meter, point.quantity)).transpose()?.flatten();
            let unsold_in =
                unsold_in(meter, intake, point.hour_time, &sellables).filter(|_| point.quantity > 0);
            Ok((point, meter, quota, unsold_in, intake.is_some_and(|intake| intake.refuses_late(now))))
        });
        match admitted {
            Ok((point, meter, quota, unsold_in, refuses_late)) => candidates.push(Candidate {
                index,
                refuses_late,
                unsold_in,
                quota: quota.map(|quota| (meter.meter.clone(), quota)),
                item: meter.item.clone(),
                place: Place {
                    workspace_id: point.workspace_id,
                    usage_date: UsageDate::of(point.hour_time),
                    meter_id: meter.meter_id,
                    dimension: point.dimension.clone(),
                    retention_days: point.retention_days,
                    hour: i16::from(UsageDate::hour_of(point.hour_time)),
                },
                reading: Reading { quantity: point.quantity, revision: point.revision },
            }),
            Err(refusal) => reported.refusals.push((index, refusal)),
        }
    }
    Ok((candidates, reported))
}

/// None: another transaction changed the same points or items; nothing was committed.
async fn commit(
    app: &App,
    candidates: Vec<Candidate>,
    mut reported: Reported,
) -> Result<Option<Reported>, Failure<Refusal>> {
    let days: BTreeSet<UsageDate> = candidates.iter().map(|candidate| candidate.place.usage_date).collect();
    let mut tx = app.pool.begin().await?;
    let closed = store::day_fences::hold_open(&mut tx, &days).await?;
    let (candidates, gone): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|candidate| !(candidate.refuses_late && closed.contains(&candidate.place.usage_date)));
    let closed_to_it = |candidate: &Candidate| (candidate.index, UsageRefusal::WorkspaceClosed);
    reported.refusals.extend(gone.iter().map(closed_to_it));
    let fed: HashSet<Fed> = candidates.iter().map(Candidate::fed).collect();
    let fed: Vec<Fed> = fed.into_iter().collect();
    let modes = store::usage_sources::list(&mut tx, &fed).await?;
    let (kept, refused): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| modes.get(&candidate.fed()) != Some(&Mode::Records));
    reported.refusals.extend(refused.iter().map(|candidate| (candidate.index, UsageRefusal::SourceMode)));

    let mut counters = hold_counters(&mut tx, &kept).await?;
    let places: HashSet<Place> = kept.iter().map(|candidate| candidate.place.clone()).collect();
    let places: Vec<Place> = places.into_iter().collect();
    let known = store::usage_points::readings_for_update(&mut tx, &places).await?;
    // What was reported while nobody knew can still be corrected.
    let (kept, refused): (Vec<_>, Vec<_>) = kept
        .into_iter()
        .partition(|candidate| candidate.unsold_in.is_none() || known.contains_key(&candidate.place));
    let not_sold = |candidate: Candidate| {
        let (item, book) = (candidate.item, candidate.unsold_in?);
        Some((candidate.index, UsageRefusal::NotSold { item, book }))
    };
    reported.refusals.extend(refused.into_iter().filter_map(not_sold));
    let kept = hold_to_quotas(&mut counters, kept, &known, &mut reported);
    store::trial_usage::add(&mut tx, &counters.added).await?;
    let batch: Vec<_> = kept.iter().map(|candidate| (candidate.place.clone(), candidate.reading)).collect();
    let (verdicts, changed) = judge_batch(&known, &batch);
    let mut fed: HashSet<Fed> = HashSet::new();
    let mut late_counts: BTreeMap<_, LateCounts> = BTreeMap::new();
    for (candidate, verdict) in kept.iter().zip(verdicts) {
        match verdict {
            Ok(Verdict::Accepted) => {
                reported.accepted_count += 1;
                if closed.contains(&candidate.place.usage_date) {
                    reported.late_count += 1;
                    let place = (candidate.place.workspace_id, candidate.place.usage_date);
                    late_counts.entry(place).or_default().points += 1;
                }
                fed.insert(candidate.fed());
            }
            Ok(Verdict::Superseded | Verdict::Refused) => reported.superseded_count += 1,
            Err(refusal) => reported.refusals.push((candidate.index, refusal)),
        }
    }
    let (late, in_time): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|(place, _)| closed.contains(&place.usage_date));
    for (points, is_late) in [(in_time, false), (late, true)] {
        let written = store::usage_points::upsert(&mut tx, &points, is_late).await?;
        // A place that was new to both of two transactions is judged again by the second.
        if written != u64::try_from(points.len()).unwrap_or(u64::MAX) {
            return Ok(None);
        }
    }
    store::late_usage::add(&mut tx, &late_counts, app.clock.now()).await?;
    let fed = fed.into_iter().filter(|fed| !modes.contains_key(fed)).collect();
    if !claim_sources(&mut tx, fed, Mode::Points).await? {
        return Ok(None);
    }
    tx.commit().await?;
    reported.refusals.sort_unstable_by_key(|(index, _)| *index);
    Ok(Some(reported))
}

/// Locks the counters of trials' quotas, before any place is looked at: whoever reports the same place of a trial waits, and sees what holds then.
async fn hold_counters(connection: &mut PgConnection, candidates: &[Candidate]) -> sqlx::Result<Counters> {
    let limited = candidates.iter().filter(|candidate| candidate.quota.is_some());
    let held: BTreeSet<Counter> = limited.map(Candidate::counter).collect();
    let used = match held.is_empty() {
        true => BTreeMap::new(),
        false => store::trial_usage::hold(connection, &held).await?,
    };
    Ok(Counters { used, ..Counters::default() })
}

/// Refuses what does not fit into a trial's quota, in the order of the batch, and counts the rest: a higher revision takes only what it adds.
fn hold_to_quotas(
    counters: &mut Counters,
    candidates: Vec<Candidate>,
    known: &HashMap<Place, Reading>,
    reported: &mut Reported,
) -> Vec<Candidate> {
    let mut holding: HashMap<Place, Reading> = HashMap::new();
    let mut kept = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let before = holding.get(&candidate.place).or_else(|| known.get(&candidate.place)).copied();
        if let Some((meter, quota)) = &candidate.quota
            && judge(before, candidate.reading) == Verdict::Accepted
        {
            let added = candidate.reading.quantity - before.map_or(0, |before| before.quantity);
            if !counters.take(candidate.counter(), added, *quota) {
                reported.refusals.push((candidate.index, used_up(meter, *quota)));
                continue;
            }
            holding.insert(candidate.place.clone(), candidate.reading);
        }
        kept.push(candidate);
    }
    kept
}
