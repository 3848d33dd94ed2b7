//! Uses up a billing account's code for a service that acts on it (DEC-70).

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use uuid::Uuid;

use super::App;
use super::check_code::{CodeRejection, Proof, check_code, use_up};
use crate::domain::code::{Purpose, Wanted};
use crate::domain::session::Identity;
use crate::store;

/// What a service is about to do, for whom.
#[derive(Debug)]
pub struct Redemption {
    /// Of the action: its repeat is answered alike.
    pub request_id: Uuid,
    /// Whose code.
    pub billing_account_id: BillingAccountId,
    /// What it pays for.
    pub workspace_id: WorkspaceId,
    /// Who asked for the code, and acts.
    pub user: User,
}

/// Right, and used up now; or used up before by the same request.
pub async fn redeem_code(
    app: &App,
    redemption: &Redemption,
    proof: &Proof,
) -> Result<(), Failure<CodeRejection>> {
    let id = redemption.billing_account_id;
    let account = store::billing_accounts::get(&mut *app.pool.acquire().await?, id).await?;
    let account = account.ok_or(Failure::Rejected(CodeRejection::Wrong))?;
    let object = redemption.workspace_id.to_string();
    let requester = redemption.user.to_string();
    let wanted = Wanted {
        purpose: Purpose::BindWorkspace,
        identity_hash: Identity::Billing(account.username).hash(),
        object: &object,
        requester: &requester,
        request_id: redemption.request_id,
    };
    let checked = check_code(app, proof, &wanted).await?;
    let mut tx = app.pool.begin().await?;
    use_up(&mut tx, &checked, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}
