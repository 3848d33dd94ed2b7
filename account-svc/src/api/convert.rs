//! Domain to wire, and rejections to refusals.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::auth::User;
use chassis::status::Refusal;
use chassis::wire::timestamp;
use tallystick_proto::account::v1 as wire;
use tallystick_proto::common::v1::{ErrorReason, Vendor};
use time::{OffsetDateTime, UtcOffset};
use tonic::Code;

use crate::app::change_contact::ChangeRejection;
use crate::app::check_code::CodeRejection;
use crate::app::close_account::CloseRejection;
use crate::app::create_billing_account::CreateRejection;
use crate::app::register::RegisterRejection;
use crate::app::renew_session::Tokens;
use crate::app::send_code::SendCodeRejection;
use crate::app::send_mail::NoAccount;
use crate::app::sign_in::SignInRejection;
use crate::domain::account_state::AccountState;
use crate::domain::billing_account::{BillingAccount, BillingProfile};
use crate::domain::code::Exhausted;
use crate::domain::console_account::ConsoleAccount;
use crate::domain::registration::{BillingChoice, Plan, Registration, State};
use crate::domain::session::SessionKey;

fn account_state(state: AccountState) -> i32 {
    match state {
        AccountState::Open => wire::AccountState::Open.into(),
        AccountState::Closing => wire::AccountState::Closing.into(),
        AccountState::Closed => wire::AccountState::Closed.into(),
    }
}

pub fn console_account(account: &ConsoleAccount) -> wire::ConsoleAccount {
    wire::ConsoleAccount {
        console_account_id: account.console_account_id.to_string(),
        site: account.site.to_wire(),
        email: if account.state == AccountState::Closed { String::new() } else { account.email.to_string() },
        create_time: Some(timestamp(account.created_at)),
        state: account_state(account.state),
        phone: account.phone.as_ref().map(ToString::to_string).unwrap_or_default(),
        display_name: account.display_name.clone(),
    }
}

pub fn billing_account(account: &BillingAccount) -> wire::BillingAccount {
    wire::BillingAccount {
        billing_account_id: account.billing_account_id.to_string(),
        username: account.username.to_string(),
        currency_code: account.currency.code().to_owned(),
        create_time: Some(timestamp(account.created_at)),
        state: account_state(account.state),
        email: account.email.as_ref().map(ToString::to_string).unwrap_or_default(),
        phone: account.phone.as_ref().map(ToString::to_string).unwrap_or_default(),
        profile: Some(profile(&account.profile)),
        enterprise: account.enterprise.as_ref().map(|enterprise| wire::Enterprise {
            company_name: enterprise.company_name.clone(),
            taxpayer_number: enterprise.taxpayer_number.as_str().to_owned(),
            verify_time: Some(timestamp(enterprise.verified_at)),
        }),
    }
}

fn profile(profile: &BillingProfile) -> wire::BillingProfile {
    wire::BillingProfile {
        company_name: profile.company_name.clone(),
        industry: profile.industry.clone(),
        region: profile.region.clone(),
        company_description: profile.company_description.clone(),
        contact_name: profile.contact_name.clone(),
    }
}

pub fn mail_sent(_: &()) -> wire::NotificationServiceSendResponse {
    wire::NotificationServiceSendResponse {}
}

pub fn renamed(account: &ConsoleAccount) -> wire::ConsoleAccountServiceUpdateResponse {
    wire::ConsoleAccountServiceUpdateResponse { console_account: Some(console_account(account)) }
}

pub fn console_email_changed(account: &ConsoleAccount) -> wire::ConsoleAccountServiceChangeEmailResponse {
    wire::ConsoleAccountServiceChangeEmailResponse { console_account: Some(console_account(account)) }
}

pub fn console_phone_changed(account: &ConsoleAccount) -> wire::ConsoleAccountServiceChangePhoneResponse {
    wire::ConsoleAccountServiceChangePhoneResponse { console_account: Some(console_account(account)) }
}

pub fn console_closed(account: &ConsoleAccount) -> wire::ConsoleAccountServiceCloseResponse {
    wire::ConsoleAccountServiceCloseResponse { console_account: Some(console_account(account)) }
}

pub fn billing_closed(account: &BillingAccount) -> wire::BillingAccountServiceCloseResponse {
    wire::BillingAccountServiceCloseResponse { billing_account: Some(billing_account(account)) }
}

pub fn updated(account: &BillingAccount) -> wire::BillingAccountServiceUpdateResponse {
    wire::BillingAccountServiceUpdateResponse { billing_account: Some(billing_account(account)) }
}

pub fn billing_email_changed(account: &BillingAccount) -> wire::BillingAccountServiceChangeEmailResponse {
    wire::BillingAccountServiceChangeEmailResponse { billing_account: Some(billing_account(account)) }
}

pub fn billing_phone_changed(account: &BillingAccount) -> wire::BillingAccountServiceChangePhoneResponse {
    wire::BillingAccountServiceChangePhoneResponse { billing_account: Some(billing_account(account)) }
}

pub fn verified(account: &BillingAccount) -> wire::BillingAccountServiceVerifyEnterpriseResponse {
    wire::BillingAccountServiceVerifyEnterpriseResponse { billing_account: Some(billing_account(account)) }
}

pub fn created(account: &BillingAccount) -> wire::BillingAccountServiceCreateResponse {
    wire::BillingAccountServiceCreateResponse { billing_account: Some(billing_account(account)) }
}

pub fn registration(registration: &Registration) -> wire::Registration {
    let state = match registration.state {
        State::Running => wire::registration::State::Running,
        State::UsernameTaken => wire::registration::State::UsernameTaken,
        State::Complete => wire::registration::State::Complete,
    };
    wire::Registration {
        registration_id: registration.registration_id.to_string(),
        state: state.into(),
        site: registration.site.to_wire(),
        console_account_id: registration.console_account_id.to_string(),
        billing_account_id: registration.billing_account_id.map(|id| id.to_string()).unwrap_or_default(),
        workspace_id: registration.workspace_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(registration.created_at)),
        complete_time: registration.completed_at.map(timestamp),
        plan: match registration.plan {
            Plan::Commercial => wire::registration::Plan::Commercial.into(),
            Plan::Trial => wire::registration::Plan::Trial.into(),
        },
        billing_choice: match registration.billing {
            BillingChoice::Create => wire::registration::BillingChoice::Create.into(),
            BillingChoice::Existing => wire::registration::BillingChoice::Existing.into(),
            BillingChoice::None => wire::registration::BillingChoice::None.into(),
        },
        channel: registration
            .landing
            .as_ref()
            .and_then(|landing| Vendor::from_str_name(&format!("VENDOR_{}", landing.vendor)))
            .unwrap_or_default()
            .into(),
        subscription_id: registration.subscription.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub fn session(tokens: Tokens) -> wire::Session {
    wire::Session {
        access_token: tokens.access,
        access_expire_time: Some(timestamp(tokens.access_expires_at)),
        refresh_token: tokens.refresh,
        refresh_expire_time: Some(timestamp(tokens.refresh_expires_at)),
        account_id: tokens.user.to_string(),
    }
}

pub fn published_key(key: &SessionKey) -> wire::PublishedKey {
    wire::PublishedKey {
        key_id: key.key_id.clone(),
        public_key: URL_SAFE_NO_PAD.encode(key.public_key),
        sign_time: Some(timestamp(key.signs_from)),
    }
}

/// To the second; every moment of ours has a four-digit year.
fn rfc3339(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(UtcOffset::UTC);
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second) = moment.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

fn tries_exhausted(limit: i32, retry_at: OffsetDateTime) -> Refusal {
    let message =
        format!("more than {limit} wrong tries within a day; they are counted anew from {retry_at}");
    Refusal::new(Code::ResourceExhausted, ErrorReason::TriesExhausted, message)
        .with("limit", limit)
        .with("retryTime", rfc3339(retry_at))
}

impl From<CodeRejection> for Refusal {
    fn from(rejection: CodeRejection) -> Self {
        match rejection {
            CodeRejection::Wrong | CodeRejection::Used => {
                let message = "the code is wrong, has expired, was used, or is for something else";
                Self::new(Code::Unauthenticated, ErrorReason::CodeInvalid, message)
            }
            CodeRejection::Exhausted { limit, retry_at } => tries_exhausted(limit, retry_at),
        }
    }
}

fn closed(user: User) -> Refusal {
    Refusal::new(Code::FailedPrecondition, ErrorReason::AccountClosed, format!("{user} is closed"))
        .with("accountId", user)
}

fn no_account(user: User) -> Refusal {
    let kind = match user {
        User::Console(_) => "console account",
        User::Billing(_) => "billing account",
    };
    Refusal::not_found(kind, user)
}

impl From<SendCodeRejection> for Refusal {
    fn from(rejection: SendCodeRejection) -> Self {
        match rejection {
            SendCodeRejection::Exhausted(Exhausted { limit, retry_at }) => {
                let message = format!("no more than {limit} codes; ask again from {retry_at} on");
                Self::new(Code::ResourceExhausted, ErrorReason::CodesExhausted, message)
                    .with("limit", limit)
                    .with("retryTime", rfc3339(retry_at))
            }
            SendCodeRejection::NoAddress(user) => {
                let message = format!("{user} has no e-mail address");
                Self::new(Code::FailedPrecondition, ErrorReason::AddressMissing, message)
                    .with("billingAccountId", user)
            }
            SendCodeRejection::Closed(user) => closed(user),
        }
    }
}

impl From<ChangeRejection> for Refusal {
    fn from(rejection: ChangeRejection) -> Self {
        match rejection {
            ChangeRejection::NotFound(user) => no_account(user),
            ChangeRejection::Closed(user) => closed(user),
            ChangeRejection::Code(rejection) => rejection.into(),
            ChangeRejection::EmailTaken => {
                let message = "another console account of the site has this e-mail address";
                Self::new(Code::AlreadyExists, ErrorReason::EmailTaken, message)
            }
            ChangeRejection::PhoneTaken => {
                let message = "another console account of the site has this phone number";
                Self::new(Code::AlreadyExists, ErrorReason::PhoneTaken, message)
            }
        }
    }
}

impl From<NoAccount> for Refusal {
    fn from(NoAccount(user): NoAccount) -> Self {
        no_account(user)
    }
}

impl From<SignInRejection> for Refusal {
    fn from(rejection: SignInRejection) -> Self {
        match rejection {
            SignInRejection::Wrong => Self::new(
                Code::Unauthenticated,
                ErrorReason::CredentialInvalid,
                "no such account, or not its password",
            ),
            SignInRejection::Exhausted { limit, retry_at } => tries_exhausted(limit, retry_at),
            SignInRejection::Code(rejection) => rejection.into(),
            SignInRejection::Busy(busy) => {
                let message = format!("{} passwords wait to be checked; wait and repeat", busy.0);
                Self::new(Code::ResourceExhausted, ErrorReason::TooManyCalls, message).with("limit", busy.0)
            }
            SignInRejection::NoSession => Self::new(
                Code::Unauthenticated,
                ErrorReason::SessionInvalid,
                "the refresh token is unknown, expired, revoked, or was used before",
            ),
        }
    }
}

impl From<RegisterRejection> for Refusal {
    fn from(rejection: RegisterRejection) -> Self {
        match rejection {
            RegisterRejection::EmailTaken(site) => {
                let message = "another console account of the site has this e-mail address";
                Self::new(Code::AlreadyExists, ErrorReason::EmailTaken, message)
                    .with("site", format!("SITE_{}", site.word()))
            }
            RegisterRejection::UsernameTaken(id) => {
                let message = format!("the user name is taken; resume {id} with another one");
                Self::new(Code::AlreadyExists, ErrorReason::UsernameTaken, message).with("registrationId", id)
            }
            RegisterRejection::NotFound(id) => Self::not_found("registration", id),
            RegisterRejection::NothingToName(id) => {
                let message = format!("{id} has its billing account; there is no name to change");
                Self::new(Code::FailedPrecondition, ErrorReason::RegistrationComplete, message)
                    .with("registrationId", id)
            }
            RegisterRejection::Code(rejection) => rejection.into(),
            RegisterRejection::Landing(refused) => (*refused).into(),
            RegisterRejection::LandingUsed => {
                let message = "the landing token is unknown, has expired, or was used";
                Self::new(Code::InvalidArgument, ErrorReason::LandingTokenInvalid, message)
            }
            RegisterRejection::CloudAccountTaken => {
                let message = "the cloud account is registered in another billing account";
                Self::new(Code::AlreadyExists, ErrorReason::CloudAccountTaken, message)
            }
            RegisterRejection::SubscriptionEnded => {
                let message = "what was bought is not active";
                Self::new(Code::FailedPrecondition, ErrorReason::SubscriptionEnded, message)
            }
            RegisterRejection::Currency { required, given } => {
                let (required, given) = (required.code(), given.code());
                let message =
                    format!("the billing account is in {required}, the marketplace charges in {given}");
                Self::new(Code::FailedPrecondition, ErrorReason::CurrencyMismatch, message)
                    .with("required", required)
                    .with("given", given)
            }
            RegisterRejection::Refused(refused) => {
                let message = format!("{} refused a step: {}", refused.service, refused.reason);
                Self::new(Code::FailedPrecondition, ErrorReason::UpstreamRefused, message)
                    .with("service", refused.service)
                    .with("reason", refused.reason)
            }
        }
    }
}

impl From<CreateRejection> for Refusal {
    fn from(rejection: CreateRejection) -> Self {
        match rejection {
            CreateRejection::UsernameTaken => Self::new(
                Code::AlreadyExists,
                ErrorReason::UsernameTaken,
                "another billing account has this user name",
            ),
        }
    }
}

impl From<CloseRejection> for Refusal {
    fn from(rejection: CloseRejection) -> Self {
        let refusal = |precondition, message: String| {
            Self::new(Code::FailedPrecondition, ErrorReason::ClosingRefused, message)
                .with("precondition", precondition)
        };
        match rejection {
            CloseRejection::NotFound(user) => no_account(user),
            CloseRejection::Refused(refused) => (*refused).into(),
            CloseRejection::NotBilled => {
                refusal("DAY_NOT_BILLED", "a sealed day that it pays for has no bill".to_owned())
            }
            CloseRejection::NotSettled(count) => {
                refusal("BILL_NOT_SETTLED", format!("{count} of its bills are not settled"))
            }
        }
    }
}
