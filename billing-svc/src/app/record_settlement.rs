//! Hears how a bill was paid. The first settlement stays; the same again is fine, another is refused.

use chassis::failure::Failure;
use chassis::id::{BillId, WorkspaceId};

use super::App;
use crate::domain::bill::BillSettlement;
use crate::store;

/// Why it is not recorded.
#[derive(Debug)]
pub enum RecordRejection {
    /// No such bill of that workspace.
    NotFound(BillId),
    /// It does not add up to the bill's total, or another settlement is there.
    Mismatch(BillId),
}

/// Records it.
pub async fn record_settlement(
    app: &App,
    workspace_id: WorkspaceId,
    bill_id: BillId,
    settlement: &BillSettlement,
) -> Result<(), Failure<RecordRejection>> {
    let mut tx = app.pool.begin().await?;
    let bill = store::bills::get(&mut tx, bill_id).await?.filter(|bill| bill.workspace_id == workspace_id);
    let bill = bill.ok_or(Failure::Rejected(RecordRejection::NotFound(bill_id)))?;
    if !settlement.adds_up_to(bill.total) {
        return Err(Failure::Rejected(RecordRejection::Mismatch(bill_id)));
    }
    if !store::bill_settlements::insert(&mut tx, &bill, settlement).await? {
        let known = store::bill_settlements::list(&mut tx, std::slice::from_ref(&bill)).await?;
        if known.get(&bill_id) != Some(settlement) {
            return Err(Failure::Rejected(RecordRejection::Mismatch(bill_id)));
        }
    }
    tx.commit().await?;
    chassis::fault::point("bill.settlement_recorded");
    Ok(())
}
