//! From the wire: one strict parser for records and points, the first problem of each named.

use chassis::auth::User;
use chassis::civil::full_hour;
use chassis::id::WorkspaceId;
use chassis::wire::{Violations, instant, is_word};
use tallystick_proto::common::v1 as common;
use tallystick_proto::workspace::v1 as wire;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::app::bind_workspace::Agreement;
use crate::domain::lock::LockCause;
use crate::domain::retention::DataType;
use crate::domain::usage_key::{self, UsageKey};
use crate::domain::usage_point::UsagePoint;
use crate::domain::usage_record::{QUANTITY_MAX, UsageRecord, UsageRefusal};
use crate::domain::workspace::Language;
use crate::peers::accounts::Proof;

/// More in one batch are refused as a whole.
pub const BATCH_RECORDS_MAX: usize = 5_000;
/// And more bytes.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
const KEY_BYTES_MAX: usize = 512;
const DIMENSION_LENGTH_MAX: usize = 64;
const RETENTION_DAYS_MAX: i32 = 3_600;

fn malformed(field: &'static str, problem: impl ToString) -> UsageRefusal {
    UsageRefusal::Malformed { field, problem: problem.to_string() }
}

fn workspace_id(text: &str) -> Result<WorkspaceId, UsageRefusal> {
    text.parse().map_err(|problem| malformed("workspace_id", problem))
}

fn dimension(text: String) -> Result<String, UsageRefusal> {
    if is_word(&text, 0, DIMENSION_LENGTH_MAX) {
        Ok(text)
    } else {
        Err(malformed("dimension", "must be at most 64 of lower-case letters, digits, \"_\", \"-\""))
    }
}

/// A decimal integer from 0 to 10^18 - 1, plainly written.
fn quantity(text: &str) -> Result<i64, UsageRefusal> {
    let plain = (1..=18).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let value = if plain { text.parse::<i64>().ok() } else { None };
    let problem = || {
        format!(
            "must be a decimal integer from 0 to {QUANTITY_MAX}, without sign, point, exponent or leading zero"
        )
    };
    value.ok_or_else(|| malformed("quantity", problem()))
}

fn time(field: &'static str, time: Option<&prost_types::Timestamp>) -> Result<OffsetDateTime, UsageRefusal> {
    time.and_then(instant).ok_or_else(|| malformed(field, "must be a valid time"))
}

fn optional_time(
    field: &'static str,
    value: Option<&prost_types::Timestamp>,
) -> Result<Option<OffsetDateTime>, UsageRefusal> {
    value.map(|value| time(field, Some(value))).transpose()
}

/// A record.
pub fn record(record: wire::UsageRecord) -> Result<UsageRecord, UsageRefusal> {
    let event_id = if record.event_id.len() == 36 { record.event_id.parse::<Uuid>().ok() } else { None };
    Ok(UsageRecord {
        workspace_id: workspace_id(&record.workspace_id)?,
        event_id: event_id
            .filter(|id| !id.is_nil())
            .ok_or_else(|| malformed("event_id", "must be a UUID"))?,
        event_time: time("event_time", record.event_time.as_ref())?,
        dimension: dimension(record.dimension)?,
        quantity: quantity(&record.quantity)?,
        count_from: optional_time("count_from_time", record.count_from_time.as_ref())?,
        meter: record.meter,
    })
}

/// A key.
pub fn key(key: wire::UsageKey) -> Result<UsageKey, UsageRefusal> {
    if !(1..=KEY_BYTES_MAX).contains(&key.key.len()) {
        return Err(malformed("key", format!("must be 1 to {KEY_BYTES_MAX} bytes")));
    }
    let size = match key.size.as_str() {
        "" => 0,
        text => quantity(text).map_err(|_| malformed("size", "must be empty or a decimal integer"))?,
    };
    Ok(UsageKey {
        workspace_id: workspace_id(&key.workspace_id)?,
        event_time: time("event_time", key.event_time.as_ref())?,
        dimension: dimension(key.dimension)?,
        key_hash: usage_key::hash(&key.key),
        size,
        meter: key.meter,
    })
}

/// A point.
pub fn point(point: wire::UsagePoint) -> Result<UsagePoint, UsageRefusal> {
    let hour_time = time("hour_time", point.hour_time.as_ref())?;
    if full_hour(hour_time) != hour_time {
        return Err(malformed("hour_time", "must be a full hour"));
    }
    if !(0..=RETENTION_DAYS_MAX).contains(&point.retention_days) {
        return Err(malformed("retention_days", format!("must be 0 to {RETENTION_DAYS_MAX}")));
    }
    if !(0..=QUANTITY_MAX).contains(&point.revision) {
        return Err(malformed("revision", format!("must be 0 to {QUANTITY_MAX}")));
    }
    Ok(UsagePoint {
        workspace_id: workspace_id(&point.workspace_id)?,
        dimension: dimension(point.dimension)?,
        retention_days: point.retention_days,
        hour_time,
        quantity: quantity(&point.quantity)?,
        count_from: optional_time("count_from_time", point.count_from_time.as_ref())?,
        revision: point.revision,
        meter: point.meter,
    })
}

/// A data type that is not unspecified.
pub fn data_type(value: i32) -> Result<DataType, &'static str> {
    let unknown = "must be a known value, not unspecified";
    match wire::DataType::try_from(value).map_err(|_| unknown)? {
        wire::DataType::Unspecified => Err(unknown),
        wire::DataType::Metrics => Ok(DataType::Metrics),
        wire::DataType::Logs => Ok(DataType::Logs),
        wire::DataType::Forwarding => Ok(DataType::Forwarding),
        wire::DataType::Events => Ok(DataType::Events),
        wire::DataType::ApmTrace => Ok(DataType::ApmTrace),
        wire::DataType::ApmProfile => Ok(DataType::ApmProfile),
        wire::DataType::Rum => Ok(DataType::Rum),
        wire::DataType::SecurityCheck => Ok(DataType::SecurityCheck),
    }
}

/// Chinese unless another is named.
pub fn language(violations: &mut Violations, value: i32) -> Option<Option<Language>> {
    match common::Language::try_from(value) {
        Ok(common::Language::Unspecified) => Some(None),
        Ok(common::Language::Zh) => Some(Some(Language::Zh)),
        Ok(common::Language::En) => Some(Some(Language::En)),
        Err(_) => {
            violations.add("language", "must be a known value");
            None
        }
    }
}

/// More workspaces in one request are refused as a whole.
const WORKSPACES_MAX: usize = 10_000;

/// A list of workspaces.
pub fn workspaces(violations: &mut Violations, field: &str, ids: &[String]) -> Option<Vec<WorkspaceId>> {
    if ids.len() > WORKSPACES_MAX {
        violations.add(field, format!("must be at most {WORKSPACES_MAX}"));
        return None;
    }
    let parse = |(index, id): (usize, &String)| violations.parse(&format!("{field}[{index}]"), id);
    ids.iter().enumerate().map(parse).collect()
}

/// A cause that must be given.
pub fn lock_cause(value: i32) -> Result<LockCause, &'static str> {
    match wire::lock::Cause::try_from(value) {
        Ok(wire::lock::Cause::Arrears) => Ok(LockCause::Arrears),
        Ok(wire::lock::Cause::Subscription) => Ok(LockCause::Subscription),
        Ok(wire::lock::Cause::Unspecified) | Err(_) => Err("must be a known value, not unspecified"),
    }
}

/// Who is to pay, and the code by which it agrees: a user needs one.
pub fn agreement(
    violations: &mut Violations,
    user: Option<User>,
    billing_account_id: &str,
    code: Option<&common::CodeProof>,
) -> Option<Agreement> {
    let billing_account_id = violations.parse("billing_account_id", billing_account_id);
    let by = match (user, code) {
        (None, _) => None,
        (Some(_), None) => {
            violations.add("billing_account_code", "must be given");
            return None;
        }
        (Some(user), Some(code)) => {
            let proof = Proof { challenge: code.challenge.clone(), code: code.code.clone() };
            Some((user, proof))
        }
    };
    billing_account_id.map(|billing_account_id| Agreement { billing_account_id, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_plain_integers() {
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "NaN",
            "inf",
            "01",
            "1000000000000000000",
            " 1",
            "1_000",
            "0x1",
            "１",
        ] {
            assert!(
                matches!(quantity(text), Err(UsageRefusal::Malformed { field: "quantity", .. })),
                "{text:?}"
            );
        }
        assert_eq!(quantity("0"), Ok(0));
        assert_eq!(quantity("999999999999999999"), Ok(QUANTITY_MAX));
    }
}
