//! Who may call: the contract says it per RPC, this layer enforces it. No token, no call; an RPC that declares nothing can be
//! called by nobody.

use std::collections::HashMap;
use std::sync::Arc;

use tallystick_proto::access::{METHODS, MethodAccess};
use tallystick_proto::common::v1::{Caller as CallerKind, ErrorReason};
use tonic::{Code, Status};

use super::{Answer, Layer, Next, Request, is_infrastructure};
use crate::auth::{Caller, Verifier};
use crate::status::Refusal;

/// Checks token and access.
pub struct Authenticate {
    verifier: Verifier,
    access: HashMap<&'static str, &'static MethodAccess>,
}

impl Authenticate {
    /// With the keys that this service trusts.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, access: METHODS.iter().map(|method| (method.path, method)).collect() }
    }

    fn check(&self, request: &Request) -> Result<Caller, Refusal> {
        let path = request.uri().path();
        let token = request
            .headers()
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .ok_or_else(|| {
                Refusal::new(
                    Code::Unauthenticated,
                    ErrorReason::TokenMissing,
                    "send \"authorization: Bearer <token>\"",
                )
            })?;
        let caller = self.verifier.verify(token.trim()).map_err(|distrust| {
            Refusal::new(
                Code::Unauthenticated,
                ErrorReason::TokenInvalid,
                format!("the token is not valid: {distrust}"),
            )
            .with("cause", distrust)
        })?;
        let allowed = self.access.get(path).is_some_and(|access| may_call(access, &caller));
        if allowed {
            return Ok(caller);
        }
        Err(Refusal::new(
            Code::PermissionDenied,
            ErrorReason::CallerNotAllowed,
            format!("{path} is not for {}", caller.label()),
        )
        .with("method", path)
        .with("caller", caller.label()))
    }
}

/// Whether the contract lets this caller call this RPC.
pub fn may_call(access: &MethodAccess, caller: &Caller) -> bool {
    let named = access.services.is_empty() || access.services.contains(&caller.name.as_str());
    access.callers.contains(&caller.kind) && (caller.kind != CallerKind::Service || named)
}

impl Layer for Authenticate {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn call(self: Arc<Self>, mut request: Request, next: Next) -> Answer {
        if is_infrastructure(request.uri().path()) {
            return next.run(request);
        }
        match self.check(&request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller.clone());
                Box::pin(async move {
                    let mut response = next.run(request).await;
                    response.extensions_mut().insert(caller);
                    response
                })
            }
            Err(refusal) => {
                let status = Status::from(refusal);
                Box::pin(async move { status.into_http() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_contract_declares_its_callers() {
        assert!(METHODS.iter().any(|method| method.path.starts_with("/tallystick.")));
        for method in METHODS.iter().filter(|method| method.path.starts_with("/tallystick.")) {
            assert!(!method.callers.is_empty(), "{} declares no caller", method.path);
            assert!(!method.callers.contains(&CallerKind::Unspecified), "{}", method.path);
        }
    }

    #[test]
    fn a_service_that_is_not_named_is_refused() {
        let access =
            MethodAccess { path: "/x/Y", callers: &[CallerKind::Service], services: &["billing-svc"] };
        let caller = |kind, name: &str| Caller { kind, name: name.to_owned() };
        assert!(may_call(&access, &caller(CallerKind::Service, "billing-svc")));
        assert!(!may_call(&access, &caller(CallerKind::Service, "account-svc")));
        assert!(!may_call(&access, &caller(CallerKind::Operator, "billing-svc")));
    }
}
