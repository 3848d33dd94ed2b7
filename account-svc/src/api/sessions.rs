//! `SessionService`

use chassis::auth::User;
use chassis::failure::Failure;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, timestamp};
use tallystick_proto::account::v1::session_service_server::SessionService;
use tallystick_proto::account::v1::session_service_set_password_request::Identity as SetPasswordIdentity;
use tallystick_proto::account::v1::session_service_sign_in_request::Identity as WireIdentity;
use tallystick_proto::account::v1::{
    SessionServiceGetKeysRequest, SessionServiceGetKeysResponse, SessionServiceRedeemCodeRequest,
    SessionServiceRedeemCodeResponse, SessionServiceRefreshRequest, SessionServiceRefreshResponse,
    SessionServiceRevokeRequest, SessionServiceRevokeResponse, SessionServiceRotateKeyRequest,
    SessionServiceRotateKeyResponse, SessionServiceSendCodeRequest, SessionServiceSendCodeResponse,
    SessionServiceSetPasswordRequest, SessionServiceSetPasswordResponse, SessionServiceSignInRequest,
    SessionServiceSignInResponse,
};
use tallystick_proto::common::v1::Caller as CallerKind;
use tonic::{Request, Response, Status};

use super::{codes, convert};
use crate::app::keep_session_keys::{rotate_session_key, session_keys};
use crate::app::redeem_code::{Redemption, redeem_code};
use crate::app::renew_session::{renew_session, revoke_session};
use crate::app::{App, send_code, sign_in};
use crate::domain::password::Password;
use crate::domain::session::Identity;

/// Longer passwords are not looked at.
const PASSWORD_CHARACTERS_MAX: usize = 128;
/// A refresh token is 32 bytes in base64url.
const REFRESH_TOKEN_CHARACTERS: usize = 43;

pub struct Room {
    pub app: App,
}

fn identity(violations: &mut Violations, identity: Option<WireIdentity>) -> Option<Identity> {
    match identity {
        None => {
            violations.add("identity", "must be given: console or username");
            None
        }
        Some(WireIdentity::Username(name)) => violations.parse("username", &name).map(Identity::Billing),
        Some(WireIdentity::Console(console)) => codes::console(violations, &console),
    }
}

fn refresh_token(text: &str) -> Result<&str, Violations> {
    let mut violations = Violations::new();
    let fits = text.len() == REFRESH_TOKEN_CHARACTERS && text.is_ascii();
    let token = violations.check("refresh_token", fits.then_some(text).ok_or("must be as it was answered"));
    violations.into_result(token)
}

#[tonic::async_trait]
impl SessionService for Room {
    async fn sign_in(
        &self,
        request: Request<SessionServiceSignInRequest>,
    ) -> Result<Response<SessionServiceSignInResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let identity = identity(&mut violations, request.identity);
        if let Some(code) = request.code.as_ref() {
            let proof = codes::proof(&mut violations, "code", Some(code));
            if !request.password.is_empty() {
                violations.add("password", "must be empty when a code is given");
            }
            let (identity, proof) = violations.into_result(identity.zip(proof))?;
            let tokens = sign_in::sign_in_by_code(&self.app, &identity, &proof).await?;
            return Ok(Response::new(SessionServiceSignInResponse {
                session: Some(convert::session(tokens)),
            }));
        }
        let fits = (1..=PASSWORD_CHARACTERS_MAX).contains(&request.password.chars().count());
        if !fits {
            violations.add("password", "must be 1 to 128 characters");
        }
        let identity = violations.into_result(identity)?;
        let tokens = sign_in::sign_in(&self.app, identity, request.password).await?;
        Ok(Response::new(SessionServiceSignInResponse { session: Some(convert::session(tokens)) }))
    }

    async fn refresh(
        &self,
        request: Request<SessionServiceRefreshRequest>,
    ) -> Result<Response<SessionServiceRefreshResponse>, Status> {
        let tokens = renew_session(&self.app, refresh_token(&request.get_ref().refresh_token)?).await?;
        Ok(Response::new(SessionServiceRefreshResponse { session: Some(convert::session(tokens)) }))
    }

    async fn revoke(
        &self,
        request: Request<SessionServiceRevokeRequest>,
    ) -> Result<Response<SessionServiceRevokeResponse>, Status> {
        revoke_session(&self.app, refresh_token(&request.get_ref().refresh_token)?).await?;
        Ok(Response::new(SessionServiceRevokeResponse {}))
    }

    async fn get_keys(
        &self,
        _: Request<SessionServiceGetKeysRequest>,
    ) -> Result<Response<SessionServiceGetKeysResponse>, Status> {
        let keys = session_keys(&self.app).await.map_err(Failure::<Refusal>::from)?;
        let keys = keys.iter().map(convert::published_key).collect();
        Ok(Response::new(SessionServiceGetKeysResponse { keys }))
    }

    async fn rotate_key(
        &self,
        _: Request<SessionServiceRotateKeyRequest>,
    ) -> Result<Response<SessionServiceRotateKeyResponse>, Status> {
        let key = rotate_session_key::<Refusal>(&self.app).await?;
        Ok(Response::new(SessionServiceRotateKeyResponse { key: Some(convert::published_key(&key)) }))
    }

    async fn send_code(
        &self,
        request: Request<SessionServiceSendCodeRequest>,
    ) -> Result<Response<SessionServiceSendCodeResponse>, Status> {
        let caller = caller(&request)?;
        // Whoever is known counts by its name; anybody by the address that it calls from.
        let source = match caller.kind {
            CallerKind::Anyone => {
                request.remote_addr().map_or_else(String::new, |from| from.ip().to_string())
            }
            _ => caller.label(),
        };
        let request = request.into_inner();
        let wanted = codes::request(&caller, &request)?;
        let mut violations = Violations::new();
        let language = codes::language(&mut violations, request.language);
        let language = violations.into_result(language)?;
        let sent = send_code::send_code(&self.app, wanted, &source, language).await?;
        let expire_time = Some(timestamp(sent.expires_at));
        Ok(Response::new(SessionServiceSendCodeResponse { challenge: sent.challenge, expire_time }))
    }

    async fn redeem_code(
        &self,
        request: Request<SessionServiceRedeemCodeRequest>,
    ) -> Result<Response<SessionServiceRedeemCodeResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let account = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let workspace = violations.parse::<WorkspaceId>("workspace_id", &request.workspace_id);
        let user = request.account_id.parse::<User>();
        let user =
            violations.check("account_id", user.map_err(|_| "must be \"acnt_\" or \"bacc_\" and a UUID"));
        let proof = codes::proof(&mut violations, "code", request.code.as_ref());
        let ((request_id, billing_account_id), ((workspace_id, user), proof)) =
            violations.into_result(request_id.zip(account).zip(workspace.zip(user).zip(proof)))?;
        let redemption = Redemption { request_id, billing_account_id, workspace_id, user };
        redeem_code(&self.app, &redemption, &proof).await?;
        Ok(Response::new(SessionServiceRedeemCodeResponse {}))
    }

    async fn set_password(
        &self,
        request: Request<SessionServiceSetPasswordRequest>,
    ) -> Result<Response<SessionServiceSetPasswordResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let identity = match &request.identity {
            None => {
                violations.add("identity", "must be given: console or username");
                None
            }
            Some(SetPasswordIdentity::Username(name)) => {
                violations.parse("username", name).map(Identity::Billing)
            }
            Some(SetPasswordIdentity::Console(console)) => codes::console(&mut violations, console),
        };
        let proof = codes::proof(&mut violations, "code", request.code.as_ref());
        let password = violations.parse::<Password>("new_password", &request.new_password);
        let (identity, (proof, password)) = violations.into_result(identity.zip(proof.zip(password)))?;
        sign_in::set_password(&self.app, &identity, &proof, password).await?;
        Ok(Response::new(SessionServiceSetPasswordResponse {}))
    }
}
