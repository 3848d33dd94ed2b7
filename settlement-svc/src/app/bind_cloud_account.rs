//! Joins a purchase to a billing account (MK-3, MK-5): by a landing token, which works once, or by what the customer reads at the vendor.

use chassis::failure::Failure;
use chassis::id::{BillingAccountId, SubscriptionId};
use chassis::idempotency::{Idempotent, Outcome};
use chassis::money::Currency;
use sha2::{Digest as _, Sha256};

use super::App;
use super::open_book::{currency_of, lock_book};
use crate::domain::cloud_account::{Purchase, State, Subscription, Vendor};
use crate::store;

/// Why nothing is bound.
#[derive(Debug)]
pub enum CloudRejection {
    /// No such billing account.
    NoAccount(BillingAccountId),
    /// The billing account is closed.
    Closed(BillingAccountId),
    /// The landing token is none, too old, or used.
    BadToken,
    /// Nobody has bought that.
    NoPurchase(Purchase),
    /// The subscription is not active.
    Ended(SubscriptionId),
    /// The marketplace charges in another currency.
    Currency {
        /// The account's.
        required: Currency,
        /// The marketplace's.
        given: Currency,
    },
    /// The cloud account is registered in another billing account.
    Taken(Vendor),
}

/// What proves that a purchase is the customer's.
#[derive(Debug, Clone)]
pub enum Proof {
    /// What the vendor's redirect carried.
    LandingToken(String),
    /// What the customer reads at the vendor.
    Purchase(Purchase),
}

type Outcome2<T> = Result<T, Failure<CloudRejection>>;

async fn purchase_of(app: &App, landing_token: &str) -> Outcome2<Purchase> {
    let purchase = app.marketplace.resolve(landing_token).await;
    let purchase = purchase.map_err(|error| Failure::Transient(error.context("marketplace")))?;
    purchase.ok_or(Failure::Rejected(CloudRejection::BadToken))
}

/// What a landing token stands for, and in which billing account its cloud account is registered.
pub async fn resolve(app: &App, landing_token: &str) -> Outcome2<(Subscription, Option<BillingAccountId>)> {
    let purchase = purchase_of(app, landing_token).await?;
    let mut connection = app.pool.acquire().await?;
    let found = store::subscriptions::find_by_purchase(&mut connection, &purchase).await?;
    let found = found.ok_or(Failure::Rejected(CloudRejection::BadToken))?;
    let account = (purchase.vendor, purchase.cloud_account_id.as_str());
    let holder = store::cloud_account_claims::holder(&mut connection, account).await?;
    Ok((found, holder))
}

/// Binds the purchase, once per request.
pub async fn bind_cloud_account(
    app: &App,
    request: &Idempotent<Subscription>,
    payer: BillingAccountId,
    proof: Proof,
) -> Outcome2<Outcome<Subscription>> {
    if let Some(answer) = request.find(&mut *app.pool.acquire().await?, app.schema).await? {
        return Ok(Outcome::Replay(answer));
    }
    let currency = currency_of(app, payer).await?;
    let required = currency.ok_or(Failure::Rejected(CloudRejection::NoAccount(payer)))?;
    let (purchase, token_hash) = match &proof {
        Proof::LandingToken(token) => {
            let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
            (purchase_of(app, token).await?, Some(hash))
        }
        Proof::Purchase(purchase) => (purchase.clone(), None),
    };
    let now = app.clock.now();
    let mut tx = app.pool.begin().await?;
    if let Some(answer) = request.claim(&mut tx, app.schema, now).await? {
        return Ok(Outcome::Replay(answer));
    }
    // Before the subscription, in the order of closing.
    if lock_book(app, &mut tx, payer, required).await?.is_closed {
        return Err(Failure::Rejected(CloudRejection::Closed(payer)));
    }
    let missing = || Failure::Rejected(CloudRejection::NoPurchase(purchase.clone()));
    let found = store::subscriptions::find_by_purchase(&mut tx, &purchase).await?.ok_or_else(missing)?;
    let id = found.subscription_id;
    let found = store::subscriptions::get_for_update(&mut tx, id).await?;
    let mut subscription = found.ok_or_else(missing)?;
    if let Some(hash) = token_hash
        && !store::cloud_account_claims::use_landing_token(&mut tx, &hash, now).await?
    {
        return Err(Failure::Rejected(CloudRejection::BadToken));
    }
    if subscription.state != State::Active {
        return Err(Failure::Rejected(CloudRejection::Ended(id)));
    }
    if subscription.currency != required {
        return Err(Failure::Rejected(CloudRejection::Currency { required, given: subscription.currency }));
    }
    let account = (purchase.vendor, purchase.cloud_account_id.as_str());
    let holder = store::cloud_account_claims::claim(&mut tx, account, payer, now).await?;
    if holder != payer || subscription.billing_account_id.is_some_and(|bound| bound != payer) {
        return Err(Failure::Rejected(CloudRejection::Taken(purchase.vendor)));
    }
    subscription.billing_account_id = Some(payer);
    store::subscriptions::update(&mut tx, &subscription).await?;
    request.store(&mut tx, app.schema, &subscription).await?;
    tx.commit().await?;
    Ok(Outcome::Fresh(subscription))
}
