//! Makes the bills of a run: reads the sealed days in order of payer, bills one account at a time, lists what could not be sealed, and succeeds only
//! when bills and listed failures equal the manifest. Interrupted anywhere, it begins anew and finds what is there.

use std::collections::HashMap;

use chassis::failure::Failure;
use chassis::fault;
use chassis::id::RunId;
use chassis::worker::Claim;

use super::App;
use super::bill_account_day::{Book, bill_account_day};
use crate::domain::bill_run::{BillRun, RunFailure, Tally};
use crate::domain::price_book::{BookKey, Prices};
use crate::domain::sealed_day::SealedDay;
use crate::peers::sealed_days::Counted;
use crate::store;

/// Runs that are looked at together; the next look takes the rest.
const RUNS_MAX: i64 = 50;

/// The runs that have not ended, oldest first.
pub async fn unfinished(app: &App) -> sqlx::Result<Vec<BillRun>> {
    store::bill_runs::list_unfinished(&mut *app.pool.acquire().await?, RUNS_MAX).await
}

/// Works on a run until it has ended. False when another process works on it.
pub async fn make_bills(app: &App, run: &BillRun) -> anyhow::Result<bool> {
    let claim = Claim { pool: &app.pool, schema: app.schema };
    let claim_name = format!("run:{}", run.run_id);
    if !claim.take(&claim_name).await? {
        return Ok(false);
    }
    let mut tx = app.pool.begin().await?;
    // A run that has ended in the meantime keeps what it has listed.
    if !store::bill_runs::mark_running(&mut tx, run.run_id).await? {
        return Ok(true);
    }
    store::bill_runs::delete_failures(&mut tx, run.run_id).await?;
    tx.commit().await?;
    let mut reading = match app.sealed_days.open(run.usage_date).await {
        Ok(reading) => reading,
        Err(failure) => anyhow::bail!("reading the sealed days of {}: {failure:?}", run.usage_date),
    };
    let mut books: HashMap<BookKey, Option<Book>> = HashMap::new();
    let mut account: Vec<SealedDay> = Vec::new();
    let mut unsealed = Tally::default();
    loop {
        let next = match reading.next().await? {
            None => None,
            Some(Counted::Sealed(day)) => Some(day),
            Some(Counted::Failed(failure)) => {
                unsealed.failures.push(failure);
                continue;
            }
        };
        let same = |day: &SealedDay| {
            account.first().is_none_or(|first| first.billing_account_id == day.billing_account_id)
        };
        if let Some(day) = next.as_ref().filter(|day| same(day)) {
            load_book(app, &mut books, day).await?;
            account.push(day.clone());
            continue;
        }
        if !account.is_empty() {
            anyhow::ensure!(claim.take(&claim_name).await?, "another process has taken over {}", run.run_id);
            if !bill_account(app, run.run_id, &account, &books).await? {
                return Ok(true);
            }
            account.clear();
        }
        match next {
            Some(day) => {
                load_book(app, &mut books, &day).await?;
                account.push(day);
            }
            None => break,
        }
    }
    anyhow::ensure!(claim.take(&claim_name).await?, "another process has taken over {}", run.run_id);
    if !count(app, run.run_id, &unsealed).await? {
        return Ok(true);
    }
    store::bill_runs::mark_succeeded(&mut *app.pool.acquire().await?, run.run_id, app.clock.now()).await?;
    fault::point("run.succeeded");
    Ok(true)
}

/// Each workspace in a transaction of its own: one that fails is listed and holds back no other.
async fn bill_apart(
    app: &App,
    run_id: RunId,
    days: &[SealedDay],
    books: &HashMap<BookKey, Option<Book>>,
) -> anyhow::Result<Tally> {
    let mut whole = Tally::default();
    for day in days {
        match bill_account_day(app, run_id, std::slice::from_ref(day), books).await {
            Ok(tally) => {
                whole.billed_count += tally.billed_count;
                whole.failures.extend(tally.failures);
            }
            Err(Failure::Fatal(error)) => {
                tracing::error!(workspace_id = %day.workspace_id, error = format!("{error:#}"), "a workspace could not be billed");
                whole.failures.push(RunFailure::fault(day.workspace_id));
            }
            Err(failure) => anyhow::bail!("billing {}: {failure:?}", day.workspace_id),
        }
    }
    Ok(whole)
}

async fn load_book(
    app: &App,
    books: &mut HashMap<BookKey, Option<Book>>,
    day: &SealedDay,
) -> sqlx::Result<()> {
    if books.contains_key(&day.book()) {
        return Ok(());
    }
    let mut connection = app.pool.acquire().await?;
    let found = store::price_books::get(&mut connection, day.book()).await?;
    let book = match found {
        None => None,
        Some(book) => {
            let entries = store::price_books::entries_on(&mut connection, day.book(), day.usage_date).await?;
            Some(Book { version: book.version, prices: Prices::new(entries) })
        }
    };
    books.insert(day.book(), book);
    Ok(())
}

/// False when the run was cancelled.
async fn bill_account(
    app: &App,
    run_id: RunId,
    days: &[SealedDay],
    books: &HashMap<BookKey, Option<Book>>,
) -> anyhow::Result<bool> {
    let tally = match bill_account_day(app, run_id, days, books).await {
        Ok(tally) => tally,
        Err(Failure::Fatal(error)) => {
            tracing::error!(
                error = format!("{error:#}"),
                "an account could not be billed as one; its workspaces are tried apart"
            );
            bill_apart(app, run_id, days, books).await?
        }
        Err(failure) => {
            anyhow::bail!("billing {:?}: {failure:?}", days.first().map(|day| day.billing_account_id))
        }
    };
    app.nudge.notify_waiters();
    count(app, run_id, &tally).await
}

/// Lists what failed, and adds to the run's counters. False when the run was cancelled.
async fn count(app: &App, run_id: RunId, tally: &Tally) -> anyhow::Result<bool> {
    let failed = i32::try_from(tally.failures.len())?;
    let mut tx = app.pool.begin().await?;
    store::bill_runs::insert_failures(&mut tx, run_id, &tally.failures).await?;
    let running = store::bill_runs::count(&mut tx, run_id, tally.billed_count, failed).await?;
    tx.commit().await?;
    Ok(running)
}
