//! Domain to wire, and rejections to refusals.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::status::Refusal;
use chassis::wire::timestamp;
use tallystick_proto::account::v1 as wire;
use tallystick_proto::common::v1::ErrorReason;
use time::{OffsetDateTime, UtcOffset};
use tonic::Code;

use crate::app::create_billing_account::CreateRejection;
use crate::app::register::RegisterRejection;
use crate::app::renew_session::Tokens;
use crate::app::sign_in::SignInRejection;
use crate::domain::billing_account::BillingAccount;
use crate::domain::console_account::ConsoleAccount;
use crate::domain::registration::{Registration, State};
use crate::domain::session::SessionKey;

pub fn console_account(account: &ConsoleAccount) -> wire::ConsoleAccount {
    wire::ConsoleAccount {
        console_account_id: account.console_account_id.to_string(),
        site: account.site.to_wire(),
        email: account.email.to_string(),
        create_time: Some(timestamp(account.created_at)),
    }
}

pub fn billing_account(account: &BillingAccount) -> wire::BillingAccount {
    wire::BillingAccount {
        billing_account_id: account.billing_account_id.to_string(),
        username: account.username.to_string(),
        currency_code: account.currency.code().to_owned(),
        create_time: Some(timestamp(account.created_at)),
    }
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

impl From<SignInRejection> for Refusal {
    fn from(rejection: SignInRejection) -> Self {
        match rejection {
            SignInRejection::Wrong => Self::new(
                Code::Unauthenticated,
                ErrorReason::CredentialInvalid,
                "no such account, or not its password",
            ),
            SignInRejection::Exhausted { limit, retry_at } => {
                let message = format!(
                    "more than {limit} wrong tries within a day; they are counted anew from {retry_at}"
                );
                Self::new(Code::ResourceExhausted, ErrorReason::TriesExhausted, message)
                    .with("limit", limit)
                    .with("retryTime", rfc3339(retry_at))
            }
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
