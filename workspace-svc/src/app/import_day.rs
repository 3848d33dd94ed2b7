//! Stores a day that was measured and billed elsewhere, before the workspace was made here. It is read as any sealed day, and is in no manifest.

use chassis::civil::{UsageDate, full_hour};
use chassis::failure::{Failure, broken_constraint};
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::Currency;

use super::App;
use crate::domain::daily_usage::DailyLine;
use crate::domain::sealed_day::SealedDay;
use crate::store;

/// A day from elsewhere.
#[derive(Debug)]
pub struct ImportedDay {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// Which day.
    pub day: UsageDate,
    /// Who paid for it.
    pub billing_account_id: BillingAccountId,
    /// In what.
    pub currency: Currency,
    /// Where it comes from.
    pub source: String,
    /// None twice; sorted here.
    pub lines: Vec<DailyLine>,
}

/// Why it is not stored.
#[derive(Debug)]
pub enum ImportRejection {
    /// No such workspace.
    UnknownWorkspace(WorkspaceId),
    /// The workspace was there before the day was over: the day is measured here.
    MeasuredHere(UsageDate),
    /// There is another day of this date.
    Differs(UsageDate),
    /// An item that no meter feeds.
    UnknownItem(String),
}

/// Stores the day, or answers that it is stored.
pub async fn import_day(
    app: &App,
    imported: ImportedDay,
) -> Result<(SealedDay, Vec<u8>), Failure<ImportRejection>> {
    let meters = app.meters().await?;
    let unknown = imported.lines.iter().find(|line| !meters.0.iter().any(|meter| meter.item == line.item));
    if let Some(line) = unknown {
        return Err(Failure::Rejected(ImportRejection::UnknownItem(line.item.clone())));
    }
    let ImportedDay { workspace_id, day, billing_account_id, currency, source, mut lines } = imported;
    let mut tx = app.pool.begin().await?;
    let Some(workspace) = store::workspaces::get(&mut tx, workspace_id).await? else {
        return Err(Failure::Rejected(ImportRejection::UnknownWorkspace(workspace_id)));
    };
    if day.end() > full_hour(workspace.created_at) {
        return Err(Failure::Rejected(ImportRejection::MeasuredHere(day)));
    }
    let key = |line: &DailyLine| (line.item.clone(), line.dimension.clone(), line.retention_days);
    lines.sort_by_key(key);
    let sealed = SealedDay {
        workspace_id,
        usage_date: day,
        billing_account_id,
        currency,
        site_class: workspace.site.class(),
        bound_at: day.start(),
        lines,
    };
    let digest = sealed.digest().to_vec();
    let stored = store::sealed_days::insert(&mut tx, &sealed, Some(&source), app.clock.now()).await;
    match stored {
        Ok(()) => tx.commit().await?,
        Err(error) if broken_constraint(&error) == Some("sealed_days_pkey") => {
            tx.rollback().await?;
            let known =
                store::sealed_days::digest(&mut *app.pool.acquire().await?, workspace_id, day).await?;
            if known.as_ref() != Some(&digest) {
                return Err(Failure::Rejected(ImportRejection::Differs(day)));
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok((sealed, digest))
}
