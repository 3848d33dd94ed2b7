//! Who may call: the contract says it per RPC, this layer enforces it. No token, no call, unless the RPC is for anyone; an RPC that
//! declares nothing can be called by nobody; and a user needs the right on every object that its request names.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use prost::bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field, string};
use tallystick_proto::access::MethodAccess;
use tallystick_proto::common::v1::{Caller as CallerKind, ErrorReason, Right};
use tonic::body::Body;
use tonic::{Code, Status};

use super::{Answer, Layer, Next, Request, is_infrastructure, method_of};
use crate::audit::{self, Event, Journal, objects_in};
use crate::auth::{Caller, Distrust, User, UserKeys, Verifier};
use crate::failure::Failure;
use crate::guard::{Guard, Object, of_account};
use crate::peer::MESSAGE_BYTES_MAX;
use crate::status::Refusal;
use crate::wire::Violations;

/// Where a service sends the token of the user on whose behalf it calls.
pub const ON_BEHALF_OF: &str = "x-on-behalf-of";

/// A gRPC frame begins with a flag and four bytes of length.
const FRAME_BYTES: usize = 5;

/// Checks token, access and rights.
pub struct Authenticate {
    verifier: Verifier,
    user_keys: UserKeys,
    guard: Arc<dyn Guard>,
    journal: Journal,
}

impl Authenticate {
    /// With the keys that this service trusts, and what it says of its objects.
    pub fn new(verifier: Verifier, user_keys: UserKeys, guard: Arc<dyn Guard>, journal: Journal) -> Self {
        Self { verifier, user_keys, guard, journal }
    }

    async fn admit(&self, mut request: Request) -> Result<(Request, Caller, &'static str), Status> {
        let access = method_of(request.uri().path());
        let caller = self.caller(request.headers(), access).await?;
        if let Some(access) = access.filter(|_| caller.kind == CallerKind::Operator) {
            request = Box::pin(self.keep(&caller, access, request)).await?;
        }
        let Some(access) = access.filter(|access| may_call(access, &caller)) else {
            let path = request.uri().path();
            return Err(Refusal::new(
                Code::PermissionDenied,
                ErrorReason::CallerNotAllowed,
                format!("{path} is not for {}", caller.label()),
            )
            .with("method", path)
            .with("caller", caller.label())
            .into());
        };
        if let Some(user) = caller.user.filter(|_| !access.objects.is_empty()) {
            let message;
            // Apart, so that calls without a user carry no room for it.
            (request, message) = Box::pin(first_message(request)).await?;
            Box::pin(self.judge(user, access, &message)).await?;
        }
        request.extensions_mut().insert(caller.clone());
        Ok((request, caller, access.path))
    }

    /// Notes the call of an operator, with the objects that its request names, before anything comes of it. A stream is noted without.
    async fn keep(
        &self,
        caller: &Caller,
        access: &MethodAccess,
        request: Request,
    ) -> Result<Request, Status> {
        let mut objects = BTreeSet::new();
        let request = if access.streams {
            request
        } else {
            let (request, message) = first_message(request).await?;
            objects_in(&message, &mut objects);
            request
        };
        let event = Event::call(caller, access.path, objects.into_iter().collect());
        self.journal.keep(&event).await.map_err(Failure::<Refusal>::from)?;
        Ok(request)
    }

    async fn caller(&self, headers: &HeaderMap, access: Option<&MethodAccess>) -> Result<Caller, Status> {
        let for_anyone = access.is_some_and(|access| access.callers.contains(&CallerKind::Anyone));
        let mut caller = match bearer(headers, http::header::AUTHORIZATION.as_str())? {
            Some(token) => self.verifier.verify_any(token, &self.user_keys).await.map_err(distrusted)?,
            None if for_anyone && !headers.contains_key(ON_BEHALF_OF) => return Ok(Caller::anyone()),
            None => {
                let message = "send \"authorization: Bearer <token>\"";
                return Err(Refusal::new(Code::Unauthenticated, ErrorReason::TokenMissing, message).into());
            }
        };
        if let Some(token) = bearer(headers, ON_BEHALF_OF)? {
            if caller.kind != CallerKind::Service {
                return Err(distrusted(Distrust::NotValid));
            }
            let user =
                Box::pin(self.verifier.verify_user(token, &self.user_keys)).await.map_err(distrusted)?;
            caller.user = Some(user);
        }
        Ok(caller)
    }

    /// Every object that is named must be the user's, and its standing enough.
    async fn judge(&self, user: User, access: &MethodAccess, message: &Bytes) -> Result<(), Status> {
        let mut violations = Violations::new();
        let mut objects = Vec::new();
        for (name, number) in access.objects {
            let text = string_field(message, *number)?;
            if !text.is_empty() {
                objects.extend(violations.parse::<Object>(name, &text).map(|object| (object, text)));
            }
        }
        if objects.is_empty() && violations.is_empty() {
            let names: Vec<_> = access.objects.iter().map(|(name, _)| *name).collect();
            violations.add(names.join(" or "), "must be given");
        }
        violations.into_result(Some(()))?;
        for (object, text) in objects {
            let standing = match of_account(user, object) {
                Some(standing) => standing,
                None => self.guard.standing(user, object).await?,
            };
            if standing.is_none() {
                return Err(Refusal::not_found(object.kind(), text).into());
            }
            if !standing.allows(access.right) {
                let right = access.right.as_str_name();
                let message = format!("{} needs {right} on {text}", access.path);
                return Err(Refusal::new(Code::PermissionDenied, ErrorReason::RightMissing, message)
                    .with("method", access.path)
                    .with("right", right)
                    .into());
            }
        }
        Ok(())
    }
}

/// The token of a header; None when there is no such header. One that is no bearer token is no valid one.
fn bearer<'a>(headers: &'a HeaderMap, header: &str) -> Result<Option<&'a str>, Status> {
    let Some(value) = headers.get(header) else { return Ok(None) };
    let text = value.to_str().ok();
    let token = text.and_then(|text| text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")));
    token.map(|token| Some(token.trim())).ok_or_else(|| distrusted(Distrust::NotValid))
}

fn distrusted(distrust: Distrust) -> Status {
    if distrust == Distrust::KeysUnavailable {
        let message = "the keys that users' tokens are signed with cannot be read now";
        return Refusal::new(Code::Unavailable, ErrorReason::Unavailable, message)
            .with("dependency", "account-svc")
            .into();
    }
    let message = format!("the token is not valid: {distrust}");
    Refusal::new(Code::Unauthenticated, ErrorReason::TokenInvalid, message).with("cause", distrust).into()
}

/// Whether the contract lets this caller call this RPC. A service that calls on behalf of a user needs the RPC to be for both.
pub fn may_call(access: &MethodAccess, caller: &Caller) -> bool {
    if access.callers.contains(&CallerKind::Anyone) {
        return true;
    }
    let named = access.services.is_empty() || access.services.contains(&caller.name.as_str());
    let for_users = access.callers.contains(&CallerKind::User) && access.right != Right::Unspecified;
    access.callers.contains(&caller.kind)
        && (caller.kind != CallerKind::Service || named)
        && (caller.user.is_none() || for_users)
}

/// The first message of a call, and the call with its body put back.
async fn first_message(request: Request) -> Result<(Request, Bytes), Status> {
    let (parts, body) = request.into_parts();
    let malformed =
        || Status::from(Refusal::new(Code::InvalidArgument, ErrorReason::FieldInvalid, "no message came"));
    let body = Limited::new(body, MESSAGE_BYTES_MAX + FRAME_BYTES).collect().await;
    let body = body.map_err(unread)?.to_bytes();
    let header = body.get(..FRAME_BYTES).ok_or_else(malformed)?;
    let [0, length @ ..] = header else { return Err(malformed()) };
    let length: [u8; 4] = length.try_into().map_err(|_| malformed())?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| malformed())?;
    let end = FRAME_BYTES.checked_add(length).filter(|end| *end <= body.len()).ok_or_else(malformed)?;
    let message = body.slice(FRAME_BYTES..end);
    Ok((Request::from_parts(parts, Body::new(Full::new(body))), message))
}

/// Why a message could not be read, as the server says it where no right is needed.
fn unread(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    if error.is::<LengthLimitError>() {
        return Status::out_of_range(format!("a message is {MESSAGE_BYTES_MAX} bytes at most"));
    }
    Status::from_error(error)
}

/// A string field as the decoder of the contract reads it: the last one of its number, empty when there is none.
fn string_field(message: &Bytes, number: u32) -> Result<String, Status> {
    let mut text = String::new();
    let mut rest = message.clone();
    let read = |rest: &mut Bytes, text: &mut String| {
        while !rest.is_empty() {
            let (tag, wire_type) = decode_key(rest)?;
            if tag == number && wire_type == WireType::LengthDelimited {
                string::merge(wire_type, text, rest, DecodeContext::default())?;
            } else {
                skip_field(wire_type, tag, rest, DecodeContext::default())?;
            }
        }
        Ok::<_, prost::DecodeError>(())
    };
    read(&mut rest, &mut text).map_err(|error| {
        Refusal::new(Code::InvalidArgument, ErrorReason::FieldInvalid, format!("not a message: {error}"))
    })?;
    Ok(text)
}

impl Layer for Authenticate {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn call(self: Arc<Self>, request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        Box::pin(async move {
            match self.admit(request).await {
                Ok((request, caller, path)) => {
                    let mut response = audit::under(&caller, path, next.run(request)).await;
                    response.extensions_mut().insert(caller);
                    response
                }
                Err(status) => status.into_http(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tallystick_proto::access::METHODS;
    use tallystick_proto::billing::v1::BillServiceListRequest;
    use uuid::Uuid;

    use super::*;
    use crate::id::ConsoleAccountId;

    #[test]
    fn every_rpc_of_the_contract_declares_its_callers() {
        assert!(METHODS.iter().any(|method| method.path.starts_with("/tallystick.")));
        for method in METHODS.iter().filter(|method| method.path.starts_with("/tallystick.")) {
            assert!(!method.callers.is_empty(), "{} declares no caller", method.path);
            assert!(!method.callers.contains(&CallerKind::Unspecified), "{}", method.path);
            let for_users = method.callers.contains(&CallerKind::User);
            assert_eq!(for_users, method.right != Right::Unspecified, "{}", method.path);
            assert_eq!(
                for_users && method.right != Right::SignedIn,
                !method.objects.is_empty(),
                "{}",
                method.path
            );
        }
    }

    fn access(
        callers: &'static [CallerKind],
        services: &'static [&'static str],
        right: Right,
    ) -> MethodAccess {
        MethodAccess { path: "/x/Y", callers, services, right, objects: &[], streams: false }
    }

    #[test]
    fn a_service_that_is_not_named_is_refused() {
        let access = access(&[CallerKind::Service], &["billing-svc"], Right::Unspecified);
        let caller = |kind, name: &str| Caller { kind, name: name.to_owned(), user: None };
        assert!(may_call(&access, &caller(CallerKind::Service, "billing-svc")));
        assert!(!may_call(&access, &caller(CallerKind::Service, "account-svc")));
        assert!(!may_call(&access, &caller(CallerKind::Operator, "billing-svc")));
    }

    #[test]
    fn on_behalf_of_a_user_both_must_be_allowed() {
        let user = Some(User::Console(ConsoleAccountId::from_uuid(Uuid::from_u128(1))));
        let caller = Caller { kind: CallerKind::Service, name: "console-svc".to_owned(), user };
        assert!(!may_call(&access(&[CallerKind::Service], &[], Right::Unspecified), &caller));
        assert!(!may_call(&access(&[CallerKind::User], &[], Right::SignedIn), &caller));
        assert!(may_call(&access(&[CallerKind::User, CallerKind::Service], &[], Right::SignedIn), &caller));
    }

    #[test]
    fn a_field_is_read_as_the_decoder_reads_it() {
        let first = BillServiceListRequest { workspace_id: "a".into(), page_size: 7, ..Default::default() };
        let second = BillServiceListRequest { workspace_id: "b".into(), ..Default::default() };
        let mut bytes = first.encode_to_vec();
        bytes.extend(second.encode_to_vec());
        let bytes = Bytes::from(bytes);
        let decoded = BillServiceListRequest::decode(bytes.clone()).unwrap();
        assert_eq!(string_field(&bytes, 1).unwrap(), decoded.workspace_id);
        assert_eq!(string_field(&bytes, 2).unwrap(), "");
        assert!(string_field(&Bytes::from_static(&[0x0a, 0xff]), 1).is_err());
    }
}
