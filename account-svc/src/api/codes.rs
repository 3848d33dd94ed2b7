//! Codes and languages, wire to domain.

use chassis::auth::{Caller, User};
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::account::v1::session_service_send_code_request::Identity as WireIdentity;
use tallystick_proto::account::v1::{CodePurpose, ConsoleIdentity, SessionServiceSendCodeRequest};
use tallystick_proto::common::v1 as common;
use tallystick_proto::common::v1::{Caller as CallerKind, ErrorReason};
use tonic::{Code, Status};

use crate::app::check_code::Proof;
use crate::app::send_code::{Request, To};
use crate::domain::code::Purpose;
use crate::domain::mail::Language;
use crate::domain::session::Identity;

/// A challenge is 32 bytes in base64url.
const CHALLENGE_CHARACTERS: usize = 43;
const CODE_DIGITS: usize = 6;

/// A code that must be given.
pub fn proof(violations: &mut Violations, field: &str, proof: Option<&common::CodeProof>) -> Option<Proof> {
    let Some(proof) = proof else {
        violations.add(field, "must be given");
        return None;
    };
    let challenge_fits = proof.challenge.len() == CHALLENGE_CHARACTERS && proof.challenge.is_ascii();
    if !challenge_fits {
        violations.add(format!("{field}.challenge"), "must be as SendCode answered it");
    }
    let code_fits = proof.code.len() == CODE_DIGITS && proof.code.bytes().all(|byte| byte.is_ascii_digit());
    if !code_fits {
        violations.add(format!("{field}.code"), "must be 6 digits");
    }
    let (challenge, code) = (proof.challenge.clone(), proof.code.clone());
    (challenge_fits && code_fits).then_some(Proof { challenge, code })
}

/// Chinese unless another is named.
pub fn language(violations: &mut Violations, value: i32) -> Option<Language> {
    match common::Language::try_from(value) {
        Ok(common::Language::Unspecified | common::Language::Zh) => Some(Language::Zh),
        Ok(common::Language::En) => Some(Language::En),
        Err(_) => {
            violations.add("language", "must be a known value");
            None
        }
    }
}

/// The identity of a console account.
pub fn console(violations: &mut Violations, console: &ConsoleIdentity) -> Option<Identity> {
    let site = violations.check("console.site", Site::from_wire(console.site));
    let email = violations.parse("console.email", &console.email);
    site.zip(email).map(|(site, email)| Identity::Console(site, email))
}

/// What is asked for, and whether the caller may: some purposes are for whoever is signed in.
pub fn request(caller: &Caller, request: &SessionServiceSendCodeRequest) -> Result<Request, Status> {
    let mut violations = Violations::new();
    let identity = match &request.identity {
        None => None,
        Some(WireIdentity::Username(name)) => violations.parse("username", name).map(Identity::Billing),
        Some(WireIdentity::Console(identity)) => console(&mut violations, identity),
    };
    let purpose = match CodePurpose::try_from(request.purpose) {
        Ok(CodePurpose::Unspecified) | Err(_) => {
            violations.add("purpose", "must be a known value, not unspecified");
            return Err(violations.into());
        }
        Ok(purpose) => purpose,
    };
    let object = request.object.as_str();
    let of_oneself = matches!(
        purpose,
        CodePurpose::ChangeEmailOld | CodePurpose::ChangeEmailNew | CodePurpose::ChangePhone
    );
    if of_oneself != request.identity.is_none() && violations.is_empty() {
        let problem = if of_oneself { "must be absent: it is the caller's own" } else { "must be given" };
        violations.add("identity", problem);
    }
    let wanted = match purpose {
        CodePurpose::SignIn | CodePurpose::SetPassword | CodePurpose::Register => {
            if !object.is_empty() {
                violations.add("object", "must be empty for this purpose");
            }
            identity.map(|identity| match purpose {
                CodePurpose::SignIn => Request::OfIdentity(Purpose::SignIn, identity),
                CodePurpose::SetPassword => Request::OfIdentity(Purpose::SetPassword, identity),
                _ => Request::Register(identity),
            })
        }
        CodePurpose::BindWorkspace => {
            let workspace = violations.parse::<chassis::id::WorkspaceId>("object", object);
            if matches!(identity, Some(Identity::Console(..))) {
                violations.add("identity", "must be the user name of a billing account");
            }
            let user = signed_in(caller)?;
            identity.zip(workspace).map(|(of, id)| Request::BindWorkspace(of, id.to_string(), user))
        }
        CodePurpose::ChangeEmailOld | CodePurpose::ChangeEmailNew => {
            let to = if purpose == CodePurpose::ChangeEmailOld { To::Old } else { To::New };
            let user = signed_in(caller)?;
            violations.parse("object", object).map(|email| Request::ChangeEmail(user, email, to))
        }
        CodePurpose::ChangePhone => {
            let user = signed_in(caller)?;
            violations.parse("object", object).map(|phone| Request::ChangePhone(user, phone))
        }
        CodePurpose::Unspecified => None,
    };
    Ok(violations.into_result(wanted)?)
}

fn signed_in(caller: &Caller) -> Result<User, Status> {
    match (caller.user, caller.kind) {
        (Some(user), _) => Ok(user),
        (None, CallerKind::Anyone) => {
            let message = "this purpose is for a signed-in account: send \"authorization: Bearer <token>\"";
            Err(Refusal::new(Code::Unauthenticated, ErrorReason::TokenMissing, message).into())
        }
        (None, _) => {
            let message = format!("a code of this purpose is not for {}", caller.label());
            Err(Refusal::new(Code::PermissionDenied, ErrorReason::CallerNotAllowed, message)
                .with("method", "/tallystick.account.v1.SessionService/SendCode")
                .with("caller", caller.label())
                .into())
        }
    }
}
