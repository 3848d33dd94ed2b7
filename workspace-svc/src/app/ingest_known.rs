//! The short way of few records whose workspaces, days and sources are known: everything is judged by what is remembered, and one statement, which is a
//! transaction by itself, writes it if nothing of that has changed. Whatever is not so plain goes the long way (`ingest_usage`).

use chassis::failure::Failure;
use chassis::fault;
use sqlx::PgConnection;

use super::App;
use super::admit_records::{Candidate, admit_records, named_in};
use super::ingest_usage::{IngestRejection, Ingested, deltas, near_midnight};
use crate::domain::meter::Meters;
use crate::domain::sellable::Sellables;
use crate::domain::usage_record::{UsageRecord, UsageRefusal};
use crate::store;
use crate::store::usage_records::{JudgedBy, NewRecord, Taken};

/// More records than these are cheaper to copy, whatever that takes besides.
const FEW_MAX: usize = 1_000;
/// What was remembered of a workspace may have changed; it is asked for again once.
const TRIES_MAX: usize = 2;

/// None: it has to go the long way, and nothing was written.
pub async fn ingest_known(
    app: &App,
    connection: &mut PgConnection,
    rules: (&Meters, &Sellables),
    parsed: &[Result<UsageRecord, UsageRefusal>],
) -> Result<Option<Ingested>, Failure<IngestRejection>> {
    // Where records come again they are looked for first.
    if parsed.len() > FEW_MAX || app.habit.will_probe() {
        return Ok(None);
    }
    let now = app.clock.now();
    let (days, ids) = named_in(parsed, now);
    app.have_partitions(connection, &days).await?;
    for _ in 0..TRIES_MAX {
        let Some((intakes, fingerprints)) = app.intakes.of(connection, &ids).await? else { return Ok(None) };
        let (candidates, mut ingested) = admit_records(rules, &intakes, parsed, now).await;
        if !is_plain(app, &candidates) {
            return Ok(None);
        }
        let judged_by = JudgedBy { days: &days, workspace_ids: &ids, fingerprints: &fingerprints };
        let rows: Vec<NewRecord<'_>> = candidates.iter().map(Candidate::row).collect();
        let hours = store::usage_deltas::columns(&deltas(&candidates))?;
        fault::point("ingest.before_commit");
        match store::usage_records::take(connection, judged_by, &rows, &hours).await? {
            Taken::All => {
                candidates.iter().for_each(|new| new.judge(new.fingerprint, true, &mut ingested));
                ingested.accepted = candidates.iter().map(|candidate| candidate.index).collect();
                ingested.refusals.sort_unstable_by_key(|(index, _)| *index);
                return Ok(Some(ingested));
            }
            Taken::WorkspaceChanged => app.intakes.forget(&ids),
            Taken::DayClosed => return Ok(None),
            Taken::SomeWereThere => {
                app.habit.met_duplicate();
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Nothing has to be asked or held for any of them: no trial's quota, nothing that nobody sells, no source that nobody knows, no neighbouring day.
fn is_plain(app: &App, candidates: &[Candidate<'_>]) -> bool {
    candidates.iter().all(|candidate| candidate.quota.is_none() && candidate.unsold_in.is_none())
        && near_midnight(candidates).is_empty()
        && app.sources.unknown(candidates).is_empty()
}
