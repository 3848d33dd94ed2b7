//! `SessionService`

use chassis::failure::Failure;
use chassis::site::Site;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::account::v1::session_service_server::SessionService;
use tallystick_proto::account::v1::session_service_sign_in_request::Identity as WireIdentity;
use tallystick_proto::account::v1::{
    SessionServiceGetKeysRequest, SessionServiceGetKeysResponse, SessionServiceRefreshRequest,
    SessionServiceRefreshResponse, SessionServiceRevokeRequest, SessionServiceRevokeResponse,
    SessionServiceRotateKeyRequest, SessionServiceRotateKeyResponse, SessionServiceSignInRequest,
    SessionServiceSignInResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::app::keep_session_keys::{rotate_session_key, session_keys};
use crate::app::renew_session::{renew_session, revoke_session};
use crate::app::{App, sign_in};
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
        Some(WireIdentity::Console(console)) => {
            let site = violations.check("console.site", Site::from_wire(console.site));
            let email = violations.parse("console.email", &console.email);
            site.zip(email).map(|(site, email)| Identity::Console(site, email))
        }
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
}
