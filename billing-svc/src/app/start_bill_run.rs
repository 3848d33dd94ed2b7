//! Starts a run of a sealed day, and ends one at an operator's word.

use chassis::audit;
use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::RunId;
use chassis::idempotency::{Idempotent, Outcome};

use super::App;
use crate::domain::bill_run::{BillRun, State};
use crate::store;

/// Why no run is started or ended.
#[derive(Debug)]
pub enum RunRejection {
    /// The day has no manifest.
    NotSealed(UsageDate),
    /// No such run.
    NotFound(RunId),
    /// It has ended.
    Finished(State),
}

/// Starts a run, once per request; the worker makes the bills.
pub async fn start_bill_run(
    app: &App,
    request: &Idempotent<BillRun>,
    day: UsageDate,
) -> Result<Outcome<BillRun>, Failure<RunRejection>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let reading = app.sealed_days.open(day).await;
    let reading = reading.map_err(|failure| failure.map(|_| RunRejection::NotSealed(day)))?;
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    let run = BillRun {
        run_id: RunId::new(now),
        usage_date: day,
        state: State::Pending,
        workspace_count: reading.workspace_count,
        billed_count: 0,
        failed_count: 0,
        trace_context: chassis::telemetry::current_trace_context(),
        created_at: now,
        finished_at: None,
    };
    store::bill_runs::insert(&mut tx, &run).await?;
    request.store(&mut tx, app.schema, &run).await?;
    tx.commit().await?;
    chassis::fault::point("run.created");
    app.nudge.notify_waiters();
    Ok(Outcome::Fresh(run))
}

/// Ends a run; bills that were made stay.
pub async fn cancel_bill_run(app: &App, id: RunId) -> Result<BillRun, Failure<RunRejection>> {
    let mut tx = app.pool.begin().await?;
    let cancelled = store::bill_runs::mark_cancelled(&mut tx, id, app.clock.now()).await?;
    if cancelled {
        audit::note(&mut tx, app.schema, "BillRunService/Cancel", &[id.to_string()]).await?;
    }
    let run =
        store::bill_runs::get(&mut tx, id).await?.ok_or(Failure::Rejected(RunRejection::NotFound(id)))?;
    tx.commit().await?;
    match run.state {
        State::Cancelled => Ok(run),
        state if cancelled => Err(chassis::bug!("{id} was cancelled and is {state:?}")),
        state => Err(Failure::Rejected(RunRejection::Finished(state))),
    }
}
