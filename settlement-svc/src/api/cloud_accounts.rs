//! `CloudAccountService`, and methods and subscriptions to wire.

use super::convert;
use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, timestamp};
use tallystick_proto::common::v1::{Caller as CallerKind, ErrorReason, Vendor as WireVendor};
use tallystick_proto::settlement::v1 as wire;
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof as WireProof;
use tallystick_proto::settlement::v1::cloud_account_service_server::CloudAccountService;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceBindRequest, CloudAccountServiceBindResponse, CloudAccountServiceListRequest,
    CloudAccountServiceListResponse, CloudAccountServiceListSubscriptionsRequest,
    CloudAccountServiceListSubscriptionsResponse, CloudAccountServiceResolveRequest,
    CloudAccountServiceResolveResponse,
};
use tonic::{Code, Request, Response, Status};

use crate::app::bind_cloud_account::{CloudRejection, Proof, bind_cloud_account, resolve};
use crate::app::change_method::MethodRejection;
use crate::app::read_methods::{CloudAccount, Described};
use crate::app::{App, read_methods};
use crate::domain::cloud_account::{Purchase, State, Subscription, Vendor};
use crate::domain::settlement_method::{Cause, Refused};

/// Stands between vendor and account in a page token; neither has one.
const SEPARATOR: char = '\n';
const LANDING_TOKEN_CHARACTERS_MAX: usize = 2_000;
const VENDOR_ID_CHARACTERS_MAX: usize = 128;

pub struct Room {
    pub app: App,
}

pub fn vendor(vendor: Vendor) -> i32 {
    match vendor {
        Vendor::HuaweiCloud => WireVendor::HuaweiCloud.into(),
        Vendor::AlibabaCloud => WireVendor::AlibabaCloud.into(),
        Vendor::Aws => WireVendor::Aws.into(),
        Vendor::Azure => WireVendor::Azure.into(),
    }
}

pub fn subscription(subscription: &Subscription) -> wire::Subscription {
    let state = match subscription.state {
        State::Active => wire::subscription::State::Active,
        State::Frozen => wire::subscription::State::Frozen,
        State::Ended => wire::subscription::State::Ended,
    };
    wire::Subscription {
        subscription_id: subscription.subscription_id.to_string(),
        vendor: vendor(subscription.purchase.vendor),
        cloud_account_id: subscription.purchase.cloud_account_id.clone(),
        instance_id: subscription.purchase.instance_id.clone(),
        currency_code: subscription.currency.code().to_owned(),
        state: state.into(),
        billing_account_id: subscription.billing_account_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(subscription.created_at)),
        end_time: subscription.ended_at.map(timestamp),
    }
}

fn bound(value: &Subscription) -> CloudAccountServiceBindResponse {
    CloudAccountServiceBindResponse { subscription: Some(subscription(value)) }
}

fn cloud_account(account: &CloudAccount) -> wire::CloudAccount {
    wire::CloudAccount {
        vendor: vendor(account.vendor),
        cloud_account_id: account.cloud_account_id.clone(),
        billing_account_id: account.billing_account_id.to_string(),
        create_time: Some(timestamp(account.claimed_at)),
    }
}

pub fn method(described: &Described) -> wire::SettlementMethod {
    use wire::settlement_method::{Cause as WireCause, Kind};
    let Described { workspace_id, method, subscription, channel } = described;
    let cause = method.as_ref().map_or(WireCause::Unspecified, |method| match method.cause {
        Cause::Activation => WireCause::Activation,
        Cause::Holder => WireCause::Holder,
        Cause::Unlocking => WireCause::Unlocking,
        Cause::SubscriptionEnded => WireCause::SubscriptionEnded,
        Cause::Operator => WireCause::Operator,
    });
    let kind = if subscription.is_some() { Kind::CloudAccount } else { Kind::BillingAccount };
    let payer = method.as_ref().map(|method| method.billing_account_id.to_string());
    wire::SettlementMethod {
        workspace_id: workspace_id.to_string(),
        billing_account_id: payer.unwrap_or_default(),
        kind: kind.into(),
        subscription_id: subscription.as_ref().map(|s| s.subscription_id.to_string()).unwrap_or_default(),
        vendor: subscription.as_ref().map(|s| vendor(s.purchase.vendor)).unwrap_or_default(),
        subscription_active: subscription.as_ref().is_some_and(|s| s.state == State::Active),
        channel: channel.map(vendor).unwrap_or_default(),
        start_time: method.as_ref().map(|method| timestamp(method.effective_from)),
        cause: cause.into(),
    }
}

pub fn changed(value: &Described) -> wire::SettlementMethodServiceChangeResponse {
    wire::SettlementMethodServiceChangeResponse { settlement_method: Some(method(value)) }
}

pub fn activated(value: &Described) -> wire::SettlementMethodServiceActivateResponse {
    wire::SettlementMethodServiceActivateResponse { settlement_method: Some(method(value)) }
}

/// Vendor, account and instance; each id is visible ASCII.
pub fn purchase(
    violations: &mut Violations,
    field: &str,
    (vendor, account, instance): (i32, &str, &str),
) -> Option<Purchase> {
    let vendor = match WireVendor::try_from(vendor) {
        Ok(WireVendor::HuaweiCloud) => Some(Vendor::HuaweiCloud),
        Ok(WireVendor::AlibabaCloud) => Some(Vendor::AlibabaCloud),
        Ok(WireVendor::Aws) => Some(Vendor::Aws),
        Ok(WireVendor::Azure) => Some(Vendor::Azure),
        Ok(WireVendor::Unspecified) | Err(_) => {
            violations.add(format!("{field}vendor"), "must be a known value, not unspecified");
            None
        }
    };
    let mut visible = |name: &str, text: &str| {
        let fits = (1..=VENDOR_ID_CHARACTERS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        let problem = "must be 1 to 128 visible ASCII characters";
        violations.check(format!("{field}{name}"), fits.then(|| text.to_owned()).ok_or(problem))
    };
    let (account, instance) = (visible("cloud_account_id", account), visible("instance_id", instance));
    Some(Purchase { vendor: vendor?, cloud_account_id: account?, instance_id: instance? })
}

fn landing_token(violations: &mut Violations, token: &str) -> Option<String> {
    let fits = (1..=LANDING_TOKEN_CHARACTERS_MAX).contains(&token.len()) && token.is_ascii();
    let problem = "must be 1 to 2,000 ASCII characters";
    violations.check("landing_token", fits.then(|| token.to_owned()).ok_or(problem))
}

#[tonic::async_trait]
impl CloudAccountService for Room {
    async fn resolve(
        &self,
        request: Request<CloudAccountServiceResolveRequest>,
    ) -> Result<Response<CloudAccountServiceResolveResponse>, Status> {
        let mut violations = Violations::new();
        let token = landing_token(&mut violations, &request.get_ref().landing_token);
        let token = violations.into_result(token)?;
        let (found, holder) = resolve(&self.app, &token).await?;
        Ok(Response::new(CloudAccountServiceResolveResponse {
            subscription: Some(subscription(&found)),
            billing_account_id: holder.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }

    async fn bind(
        &self,
        request: Request<CloudAccountServiceBindRequest>,
    ) -> Result<Response<CloudAccountServiceBindResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let proof = match &request.proof {
            None => {
                violations.add("proof", "must be given: landing_token or purchase");
                None
            }
            Some(WireProof::LandingToken(token)) => {
                landing_token(&mut violations, token).map(Proof::LandingToken)
            }
            Some(WireProof::Purchase(bought)) => {
                let ids = (bought.vendor, &*bought.cloud_account_id, &*bought.instance_id);
                // A service has resolved a landing token before it names what it stands for (MK-2).
                let resolved = caller.kind == CallerKind::Service;
                let typed = purchase(&mut violations, "purchase.", ids)
                    .filter(|it| resolved || it.vendor.ids_are_typed());
                if typed.is_none() && violations.is_empty() {
                    let problem =
                        "must be Huawei Cloud or Alibaba Cloud: others redirect with a landing token";
                    violations.add("purchase.vendor", problem);
                }
                typed.map(Proof::Purchase)
            }
        };
        let ((request_id, id), proof) = violations.into_result(request_id.zip(id).zip(proof))?;
        let method = "CloudAccountService/Bind";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, bound);
        respond(bind_cloud_account(&self.app, &once, id, proof).await?, bound)
    }

    async fn list(
        &self,
        request: Request<CloudAccountServiceListRequest>,
    ) -> Result<Response<CloudAccountServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let filter = format!("cloud accounts {}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as::<String>(&mut violations));
        if after.as_ref().is_some_and(|after| after.contains('\0') || !after.contains(SEPARATOR)) {
            violations.add("page_token", "must be one that this list answered");
        }
        let (id, page) = violations.into_result(id.zip(page))?;
        let after = after.as_deref().and_then(|after| after.split_once(SEPARATOR));
        let rows = read_methods::cloud_accounts(&self.app, id, after, page.fetch_limit()).await;
        let paged = page.close(rows.map_err(Failure::<Refusal>::from)?, |row| {
            format!("{}{SEPARATOR}{}", row.vendor.word(), row.cloud_account_id)
        });
        Ok(Response::new(CloudAccountServiceListResponse {
            cloud_accounts: paged.rows.iter().map(cloud_account).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<CloudAccountServiceListSubscriptionsRequest>,
    ) -> Result<Response<CloudAccountServiceListSubscriptionsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let filter = format!("subscriptions {}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filter);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_methods::subscriptions(&self.app, id, after, page.fetch_limit()).await;
        let rows = rows.map_err(Failure::<Refusal>::from)?;
        let paged = page.close(rows, |row| row.subscription_id.to_string());
        Ok(Response::new(CloudAccountServiceListSubscriptionsResponse {
            subscriptions: paged.rows.iter().map(subscription).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}

fn vendor_name(of: Vendor) -> &'static str {
    WireVendor::try_from(vendor(of)).unwrap_or_default().as_str_name()
}

fn precondition(reason: ErrorReason, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::FailedPrecondition, reason, message)
}

fn currency_mismatch(required: &str, given: &str) -> Refusal {
    let message = format!("the billing account is in {required}, the marketplace charges in {given}");
    precondition(ErrorReason::CurrencyMismatch, message).with("required", required).with("given", given)
}

impl From<CloudRejection> for Refusal {
    fn from(rejection: CloudRejection) -> Self {
        match rejection {
            CloudRejection::NoAccount(id) => Self::not_found("billing account", id),
            CloudRejection::Closed(id) => convert::account_closed(id),
            CloudRejection::BadToken => {
                let message = "the landing token is unknown, has expired, or was used";
                Self::new(Code::InvalidArgument, ErrorReason::LandingTokenInvalid, message)
            }
            CloudRejection::NoPurchase(purchase) => Self::not_found("purchase", purchase.instance_id),
            CloudRejection::Ended(id) => {
                precondition(ErrorReason::SubscriptionEnded, format!("{id} is not active"))
                    .with("subscriptionId", id)
            }
            CloudRejection::Currency { required, given } => currency_mismatch(required.code(), given.code()),
            CloudRejection::Taken(of) => {
                let message = "the cloud account is registered in another billing account";
                Self::new(Code::AlreadyExists, ErrorReason::CloudAccountTaken, message)
                    .with("vendor", vendor_name(of))
            }
        }
    }
}

impl From<MethodRejection> for Refusal {
    fn from(rejection: MethodRejection) -> Self {
        match rejection {
            MethodRejection::NoWorkspace(id) => Self::not_found("workspace", id),
            MethodRejection::NoSubscription(id) => Self::not_found("subscription", id),
            MethodRejection::NoAccount(id) => Self::not_found("billing account", id),
            MethodRejection::NotBound(id) => {
                precondition(ErrorReason::WorkspaceNotBound, format!("{id} has no billing account"))
                    .with("workspaceId", id)
            }
            MethodRejection::Dissolved(id) => {
                precondition(ErrorReason::WorkspaceDissolved, format!("{id} is dissolved"))
                    .with("workspaceId", id)
            }
            MethodRejection::PayerChanges(id, until) => {
                let message = format!("another billing account pays for {id} soon");
                precondition(ErrorReason::BindingChangePending, message)
                    .with("workspaceId", id)
                    .with("effectiveTime", until)
            }
            MethodRejection::Rule(refused, site) => {
                let site = site.map(|site| format!("SITE_{}", site.word())).unwrap_or_default();
                rule(refused, &site)
            }
        }
    }
}

/// Each refusal names its rule.
fn rule(refused: Refused, site: &str) -> Refusal {
    match refused {
        Refused::Unchanged => precondition(ErrorReason::MethodUnchanged, "the method is that already"),
        Refused::TargetEnded(id) => {
            precondition(ErrorReason::SubscriptionEnded, format!("{id} is not active"))
                .with("subscriptionId", id)
        }
        Refused::ChannelVendorOnly(of) => {
            let name = vendor_name(of);
            let message = format!("the workspace came through {name} and settles with it only");
            precondition(ErrorReason::ChannelVendorOnly, message).with("rule", "SM-7").with("vendor", name)
        }
        Refused::SubscriptionActive(id) => {
            let message = format!("the active subscription {id} settles the workspace");
            precondition(ErrorReason::SubscriptionActive, message)
                .with("rule", "SM-4")
                .with("subscriptionId", id)
        }
        Refused::VendorNotAllowed(of) => {
            let name = vendor_name(of);
            let message = format!("{name} does not fit {site}, and \"any method\" is off");
            precondition(ErrorReason::VendorNotAllowed, message)
                .with("rule", "SM-5")
                .with("vendor", name)
                .with("site", site)
        }
        Refused::Currency { required, given } => {
            currency_mismatch(required.code(), given.code()).with("rule", "DEC-53")
        }
        Refused::Arrears(arrears) => {
            precondition(ErrorReason::ArrearsOutstanding, format!("{} is owed", arrears.printed()))
                .with("rule", "DEC-22")
                .with("required", arrears.printed())
                .with("currency", arrears.currency().code())
        }
        Refused::PackageRunning => {
            precondition(ErrorReason::PackageRunning, "a yearly package runs").with("rule", "YP-2")
        }
        Refused::ThisMonth(last) => {
            precondition(ErrorReason::MethodChangedThisMonth, format!("it was changed on {last}"))
                .with("rule", "SM-3")
                .with("changeTime", last)
        }
    }
}
