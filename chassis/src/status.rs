//! The one translation from failures to gRPC statuses (AIP-193): every error has exactly one `ErrorInfo`.

use std::collections::HashMap;

use tallystick_proto::common::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::failure::Failure;
use crate::wire::Violations;

/// The domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "tallystick";

/// How long a caller should wait before it repeats.
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(500);

/// More violations than this are not listed: trailers are small.
const VIOLATIONS_MAX: usize = 20;

/// A "no" in the words of the contract: code, reason, message, and every variable of the message in the metadata.
#[derive(Debug, Clone)]
pub struct Refusal {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
}

impl Refusal {
    /// A refusal without metadata.
    pub fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), metadata: HashMap::new(), violations: Vec::new() }
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a field that is to blame.
    #[must_use]
    pub fn blaming(mut self, field: impl Into<String>, problem: impl Into<String>) -> Self {
        self.violations.push(FieldViolation::new(field, problem));
        self
    }

    /// NOT_FOUND, for an unknown id and for one that is not the caller's alike.
    pub fn not_found(kind: &str, id: impl ToString) -> Self {
        let id = id.to_string();
        Self::new(Code::NotFound, ErrorReason::ObjectNotFound, format!("{kind} {id} not found"))
            .with("type", kind)
            .with("id", id)
    }

    /// The reason as it is sent: without the enum's prefix.
    pub fn reason_name(&self) -> &'static str {
        reason_name(self.reason)
    }
}

/// A reason as it stands in `ErrorInfo.reason`.
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        if refusal.code == Code::NotFound {
            let value = |key: &str| refusal.metadata.get(key).cloned().unwrap_or_default();
            details.set_resource_info(value("type"), value("id"), "", "");
        }
        if matches!(refusal.code, Code::Unavailable | Code::Aborted) {
            details.set_retry_info(Some(RETRY_DELAY));
        }
        if refusal.code == Code::FailedPrecondition {
            let name = reason_name(refusal.reason);
            details.add_precondition_failure_violation(name, "", refusal.message.clone());
        }
        if refusal.code == Code::ResourceExhausted {
            details.add_quota_failure_violation("calls in flight", refusal.message.clone());
        }
        if !refusal.violations.is_empty() {
            details.set_bad_request(refusal.violations.into_iter().take(VIOLATIONS_MAX).collect::<Vec<_>>());
        }
        details.set_error_info(reason_name(refusal.reason), ERROR_DOMAIN, refusal.metadata);
        Self::with_error_details(refusal.code, refusal.message, details)
    }
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        let count = violations.list().len();
        let mut refusal = Self::new(
            Code::InvalidArgument,
            ErrorReason::FieldInvalid,
            match violations.list() {
                [(field, problem)] => format!("{field} {problem}"),
                _ => format!("{count} fields are invalid"),
            },
        );
        for (field, problem) in violations.into_list() {
            refusal = refusal.blaming(field, problem);
        }
        refusal
    }
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        Refusal::from(violations).into()
    }
}

/// The status of a failure. Transient and fatal ones are logged here, once, with the whole chain; no caller sees it.
impl<R> From<Failure<R>> for Status
where
    R: Into<Refusal>,
{
    fn from(failure: Failure<R>) -> Self {
        match failure {
            Failure::Rejected(rejection) => rejection.into().into(),
            Failure::RequestIdReused(id) => Refusal::new(
                Code::InvalidArgument,
                ErrorReason::RequestIdReused,
                format!("request id {id} was used before with another body"),
            )
            .with("requestId", id)
            .into(),
            Failure::Transient(error) => {
                tracing::warn!(error = format!("{error:#}"), "a dependency does not answer");
                let dependency = error.to_string();
                Refusal::new(
                    Code::Unavailable,
                    ErrorReason::Unavailable,
                    "a dependency does not answer; repeat the call",
                )
                .with("dependency", dependency)
                .into()
            }
            Failure::Fatal(error) => internal(&error),
        }
    }
}

/// INTERNAL; the chain goes to the log, the caller gets the request id.
pub fn internal(error: &anyhow::Error) -> Status {
    let request_id = crate::layer::request_id::current();
    tracing::error!(error = format!("{error:#}"), request_id, "a fault of ours");
    Refusal::new(
        Code::Internal,
        ErrorReason::Internal,
        "a fault of ours; the log has it under the request id",
    )
    .with("requestId", request_id)
    .into()
}

/// Another service's refusal, in its own words.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Who refused.
    pub service: &'static str,
    /// Its reason, or its code when it gave none.
    pub reason: String,
    refusal: Refusal,
}

impl Refused {
    /// What a peer answered.
    pub fn of(service: &'static str, status: &Status) -> Self {
        let reason = reason_of(status).unwrap_or_else(|| format!("{:?}", status.code()));
        let known = ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}"));
        let mut refusal =
            Refusal::new(status.code(), known.unwrap_or(ErrorReason::UpstreamRefused), status.message());
        refusal.metadata = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
        Self { service, reason, refusal }
    }
}

/// The refusal as it was: for a caller that asked for it as if of the peer itself.
impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        refused.refusal
    }
}

/// The reason in a status that a Tallystick service sent.
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN).map(|info| info.reason)
}

/// One metadata value of a status that a Tallystick service sent.
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().and_then(|info| info.metadata.get(key).cloned())
}
