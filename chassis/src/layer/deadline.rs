//! No call waits for ever: the caller's `grpc-timeout`, else 10 s, never more than 60 s. Streams have it until their first
//! answer.

use std::sync::Arc;
use std::time::Duration;

use tallystick_proto::common::v1::ErrorReason;
use tonic::{Code, Status};

use super::{Answer, Layer, Next, Request, is_infrastructure};
use crate::status::Refusal;

/// When the caller names none.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// Whatever the caller names.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Ends calls that take too long.
pub struct Deadline;

impl Layer for Deadline {
    fn name(&self) -> &'static str {
        "deadline"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        let given =
            request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
        let deadline = given.unwrap_or(DEADLINE_DEFAULT).min(DEADLINE_MAX);
        Box::pin(async move {
            match tokio::time::timeout(deadline, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    let refusal = Refusal::new(
                        Code::DeadlineExceeded,
                        ErrorReason::DeadlineExceeded,
                        "the deadline passed; repeat the call with the same request id",
                    );
                    Status::from(refusal).into_http()
                }
            }
        })
    }
}

/// At most 8 digits and a unit, as the gRPC protocol has it.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count.saturating_mul(3_600))),
        'M' => Some(Duration::from_secs(count.saturating_mul(60))),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        for text in ["", "S", "123456789S", "5", "5x", "-5S", "5é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
