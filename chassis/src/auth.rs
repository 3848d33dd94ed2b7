//! Tokens: Ed25519 JWTs of ten minutes, addressed to named services. Who signed one decides what its bearer is; a token says
//! nothing of its own rights.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use tallystick_proto::common::v1::Caller as CallerKind;
use uuid::Uuid;

pub use crate::user::{KeySource, USER_KEY_PREFIX, User, UserKeys};

/// Who issues every token.
pub const ISSUER: &str = "tallystick";

/// How long a token lives.
pub const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// How far two machines' clocks may differ.
const LEEWAY_SECS: u64 = 5;

/// What a trusted key may sign for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Holder {
    /// The service of this name.
    Service(String),
    /// An operator; the token's subject says which.
    Operator,
}

/// A public key that is trusted. Several of one holder at once is how keys rotate without a failed call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// Names the key in the header of a token.
    pub kid: String,
    /// The Ed25519 public key, base64url without padding.
    pub x: String,
    /// Whose it is.
    #[serde(flatten)]
    pub holder: Holder,
}

/// Whom a call comes from, as the token proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What it is.
    pub kind: CallerKind,
    /// Its name: of the service, of the operator, or the id of the user's account. Empty for anyone.
    pub name: String,
    /// The user that calls, or on whose behalf a service does.
    pub user: Option<User>,
}

impl Caller {
    /// Somebody without a token.
    pub fn anyone() -> Self {
        Self { kind: CallerKind::Anyone, name: String::new(), user: None }
    }

    /// For the requests table, the access log and the audit: "SERVICE:billing-svc", "USER:acnt_...", "SERVICE:console-svc for acnt_...".
    pub fn label(&self) -> String {
        let kind = self.kind.as_str_name();
        let kind = kind.strip_prefix("CALLER_").unwrap_or(kind);
        match (self.kind, self.user) {
            (CallerKind::Service, Some(user)) => format!("{kind}:{} for {user}", self.name),
            _ => format!("{kind}:{}", self.name),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    iat: u64,
    exp: u64,
    jti: String,
}

/// Signs tokens with one key.
#[derive(Clone)]
pub struct Signer {
    kid: String,
    subject: String,
    key: Arc<EncodingKey>,
    public: String,
}

impl Signer {
    /// From the 32 secret bytes of an Ed25519 key in base64url.
    pub fn new(kid: &str, subject: &str, secret: &str) -> anyhow::Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(secret.trim()).context("the signing key is not base64url")?;
        let bytes: [u8; 32] = bytes.as_slice().try_into().context("the signing key is not 32 bytes")?;
        let key = ed25519_dalek::SigningKey::from_bytes(&bytes);
        let der = key.to_pkcs8_der().context("encoding the signing key")?;
        Ok(Self {
            kid: kid.to_owned(),
            subject: subject.to_owned(),
            key: Arc::new(EncodingKey::from_ed_der(der.as_bytes())),
            public: URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
        })
    }

    /// A new secret, in base64url.
    pub fn generate_secret() -> anyhow::Result<String> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The public half, to be trusted by others.
    pub fn trusted_key(&self, holder: Holder) -> TrustedKey {
        TrustedKey { kid: self.kid.clone(), x: self.public.clone(), holder }
    }

    /// A token for these services, of ten minutes from now in real time.
    pub fn token(&self, audience: &[&str]) -> anyhow::Result<String> {
        self.token_at(audience, jsonwebtoken_now(), TOKEN_LIFE)
    }

    /// A token with a beginning and a life of one's own; longer than ten minutes is refused by every service.
    pub fn token_at(&self, audience: &[&str], issued_at_secs: u64, life: Duration) -> anyhow::Result<String> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: self.subject.clone(),
            aud: audience.iter().map(|&name| name.to_owned()).collect(),
            iat: issued_at_secs,
            exp: issued_at_secs + life.as_secs(),
            jti: Uuid::new_v5(&Uuid::NAMESPACE_OID, &random_bytes()?).to_string(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).context("signing a token")
    }
}

/// What a sealed text is for stands where a token says whose it is, so that neither passes for the other.
const SEALED: &str = "sealed:";

impl Signer {
    /// A text of ten minutes that nobody else can make: for what is handed to strangers and comes back.
    pub fn seal(&self, purpose: &str, text: &str) -> anyhow::Result<String> {
        self.seal_at(purpose, text, jsonwebtoken_now())
    }

    fn seal_at(&self, purpose: &str, text: &str, issued_at_secs: u64) -> anyhow::Result<String> {
        let sealing = Self { subject: format!("{SEALED}{purpose}"), ..self.clone() };
        sealing.token_at(&[text], issued_at_secs, TOKEN_LIFE)
    }

    /// The text, if this key has sealed it for this purpose less than ten minutes ago.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<String> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_aud = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_SECS;
        let key = DecodingKey::from_ed_components(&self.public).ok()?;
        let claims = jsonwebtoken::decode::<Claims>(sealed, &key, &validation).ok()?.claims;
        let [text] = claims.aud.as_slice() else { return None };
        (claims.sub == format!("{SEALED}{purpose}")).then(|| text.clone())
    }
}

fn random_bytes() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}

/// Real time, which tokens live in whatever a test clock says.
#[allow(clippy::disallowed_methods)]
fn jsonwebtoken_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Why a token was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Its time has passed.
    #[error("EXPIRED")]
    Expired,
    /// It is for another service.
    #[error("WRONG_AUDIENCE")]
    WrongAudience,
    /// Nobody that is trusted has this key.
    #[error("UNKNOWN_KEY")]
    UnknownKey,
    /// Altered, badly made, not Ed25519, of another issuer, or longer-lived than ten minutes.
    #[error("NOT_VALID")]
    NotValid,
    /// The published keys cannot be read now: nobody knows.
    #[error("KEYS_UNAVAILABLE")]
    KeysUnavailable,
}

/// Checks tokens that are addressed to one service.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<HashMap<String, (Holder, DecodingKey)>>,
    validation: Arc<Validation>,
    proven: Arc<Mutex<HashMap<String, Proven>>>,
}

/// What a token proves, and until when in seconds: a caller sends the same one with every call, and its signature need be checked once.
type Proven = (u64, Caller);

/// Tokens that are remembered at most; then it begins anew.
const PROVEN_MAX: usize = 1_000;

impl Verifier {
    /// Trusts these keys, for tokens addressed to this service.
    pub fn new(service: &str, trusted: &[TrustedKey]) -> anyhow::Result<Self> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[service]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_SECS;
        let mut keys = HashMap::new();
        for key in trusted {
            anyhow::ensure!(
                !key.kid.starts_with(USER_KEY_PREFIX),
                "trusted key {}: ids of users' keys begin so",
                key.kid
            );
            let decoding = DecodingKey::from_ed_components(&key.x)
                .with_context(|| format!("trusted key {}", key.kid))?;
            anyhow::ensure!(
                keys.insert(key.kid.clone(), (key.holder.clone(), decoding)).is_none(),
                "trusted key {} is there twice",
                key.kid
            );
        }
        Ok(Self { keys: Arc::new(keys), validation: Arc::new(validation), proven: Arc::default() })
    }

    /// Whom the token of a service or an operator proves the call to come from.
    pub fn verify(&self, token: &str) -> Result<Caller, Distrust> {
        match self.proven_before(token, jsonwebtoken_now())? {
            Some(caller) => Ok(caller),
            None => self.prove(token, &key_id(token)?),
        }
    }

    fn prove(&self, token: &str, kid: &str) -> Result<Caller, Distrust> {
        let (holder, key) = self.keys.get(kid).ok_or(Distrust::UnknownKey)?;
        let claims = self.claims(token, key)?;
        let name = claims.sub;
        let kind = match holder {
            Holder::Service(service) if *service == name => CallerKind::Service,
            Holder::Service(_) => return Err(Distrust::NotValid),
            Holder::Operator => CallerKind::Operator,
        };
        let caller = Caller { kind, name, user: None };
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven.len() >= PROVEN_MAX {
            proven.clear();
        }
        proven.insert(token.to_owned(), (claims.exp, caller.clone()));
        Ok(caller)
    }

    /// Keys of services and operators hold for the life of this process; only the time of a token that was proven can pass.
    fn proven_before(&self, token: &str, now_secs: u64) -> Result<Option<Caller>, Distrust> {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        match proven.get(token) {
            Some((expires, _)) if *expires + LEEWAY_SECS < now_secs => Err(Distrust::Expired),
            Some((_, caller)) => Ok(Some(caller.clone())),
            None => Ok(None),
        }
    }

    /// Which user a token proves; its key is one of those that account-svc publishes.
    pub async fn verify_user(&self, token: &str, keys: &UserKeys) -> Result<User, Distrust> {
        let key = keys.find(&key_id(token)?).await?;
        self.claims(token, &key)?.sub.parse().map_err(|_| Distrust::NotValid)
    }

    /// Whom any token proves, by the kind of its key.
    pub async fn verify_any(&self, token: &str, keys: &UserKeys) -> Result<Caller, Distrust> {
        // A user's token is never among those that were proven.
        if let Some(caller) = self.proven_before(token, jsonwebtoken_now())? {
            return Ok(caller);
        }
        let kid = key_id(token)?;
        if !kid.starts_with(USER_KEY_PREFIX) {
            return self.prove(token, &kid);
        }
        let user = Box::pin(self.verify_user(token, keys)).await?;
        Ok(Caller { kind: CallerKind::User, name: user.to_string(), user: Some(user) })
    }

    fn claims(&self, token: &str, key: &DecodingKey) -> Result<Claims, Distrust> {
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Distrust::Expired,
                ErrorKind::InvalidAudience => Distrust::WrongAudience,
                _ => Distrust::NotValid,
            })?
            .claims;
        let too_long = claims.exp.saturating_sub(claims.iat) > TOKEN_LIFE.as_secs();
        if too_long || claims.iat > jsonwebtoken_now() + LEEWAY_SECS {
            return Err(Distrust::NotValid);
        }
        Ok(claims)
    }
}

fn key_id(token: &str) -> Result<String, Distrust> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Distrust::NotValid)?;
    header.kid.ok_or(Distrust::UnknownKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(kid: &str, subject: &str, holder: Holder) -> (Signer, TrustedKey) {
        let signer = Signer::new(kid, subject, &Signer::generate_secret().unwrap()).unwrap();
        let key = signer.trusted_key(holder);
        (signer, key)
    }

    #[test]
    fn a_sealed_text_opens_for_its_purpose_and_key_within_ten_minutes() {
        let signer = |kid: &str| Signer::new(kid, "a-svc", &Signer::generate_secret().unwrap()).unwrap();
        let one = signer("one");
        let sealed = one.seal("landing", "hello").unwrap();
        assert_eq!(one.open("landing", &sealed).as_deref(), Some("hello"));
        assert_eq!(one.open("other", &sealed), None);
        assert_eq!(signer("one").open("landing", &sealed), None);
        assert_eq!(one.open("landing", &one.token(&["hello"]).unwrap()), None, "a token is no sealed text");
        let old = one.seal_at("landing", "hello", jsonwebtoken_now() - 700).unwrap();
        assert_eq!(one.open("landing", &old), None);
        let mut altered = sealed.clone();
        altered.insert(sealed.len() / 2, 'x');
        assert_eq!(one.open("landing", &altered), None);
    }

    #[test]
    fn a_token_proves_who_signed_it() {
        let (signer, key) = pair("k1", "billing-svc", Holder::Service("billing-svc".into()));
        let verifier = Verifier::new("settlement-svc", &[key]).unwrap();
        let caller = verifier.verify(&signer.token(&["settlement-svc"]).unwrap()).unwrap();
        assert_eq!(caller.label(), "SERVICE:billing-svc");
    }

    #[test]
    fn a_token_for_another_service_is_refused() {
        let (signer, key) = pair("k1", "ann", Holder::Operator);
        let verifier = Verifier::new("settlement-svc", &[key]).unwrap();
        assert_eq!(verifier.verify(&signer.token(&["billing-svc"]).unwrap()), Err(Distrust::WrongAudience));
    }

    #[test]
    fn a_token_that_was_proven_expires_all_the_same() {
        let (signer, key) = pair("svc-1", "billing-svc", Holder::Service("billing-svc".to_owned()));
        let verifier = Verifier::new("account-svc", &[key]).unwrap();
        let token = signer.token(&["account-svc"]).unwrap();
        let now = jsonwebtoken_now();
        assert_eq!(
            verifier.proven_before(&token, now),
            Ok(None),
            "nothing is remembered before it was proven"
        );
        let caller = verifier.verify(&token).unwrap();
        assert_eq!(verifier.verify(&token), Ok(caller.clone()));
        let last = now + TOKEN_LIFE.as_secs() + LEEWAY_SECS;
        assert_eq!(verifier.proven_before(&token, last), Ok(Some(caller)));
        assert_eq!(verifier.proven_before(&token, last + 2), Err(Distrust::Expired));
        assert_eq!(verifier.verify(&format!("{token}x")), Err(Distrust::NotValid));
    }

    #[test]
    fn expired_long_lived_and_early_tokens_are_refused() {
        let (signer, key) = pair("k1", "ann", Holder::Operator);
        let verifier = Verifier::new("a", &[key]).unwrap();
        let now = jsonwebtoken_now();
        let at = |issued, life| {
            verifier.verify(&signer.token_at(&["a"], issued, Duration::from_secs(life)).unwrap())
        };
        assert_eq!(at(now - 700, 600), Err(Distrust::Expired));
        assert_eq!(at(now, 3_600), Err(Distrust::NotValid));
        assert_eq!(at(now + 300, 600), Err(Distrust::NotValid));
        assert!(at(now, 600).is_ok());
    }

    #[test]
    fn a_service_cannot_speak_for_another() {
        let (signer, key) = pair("k1", "account-svc", Holder::Service("billing-svc".into()));
        let verifier = Verifier::new("a", &[key]).unwrap();
        assert_eq!(verifier.verify(&signer.token(&["a"]).unwrap()), Err(Distrust::NotValid));
    }

    #[test]
    fn unknown_keys_altered_tokens_and_no_algorithm_are_refused() {
        let (signer, key) = pair("k1", "ann", Holder::Operator);
        let (stranger, _) = pair("k2", "ann", Holder::Operator);
        let (impostor, _) = pair("k1", "ann", Holder::Operator);
        let verifier = Verifier::new("a", &[key]).unwrap();
        let token = signer.token(&["a"]).unwrap();
        assert_eq!(verifier.verify(&stranger.token(&["a"]).unwrap()), Err(Distrust::UnknownKey));
        assert_eq!(verifier.verify(&impostor.token(&["a"]).unwrap()), Err(Distrust::NotValid));
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
        let claims = token.split('.').nth(1).unwrap();
        assert_eq!(verifier.verify(&format!("{none}.{claims}.")), Err(Distrust::NotValid));
        let mut altered = token.clone();
        altered.replace_range(
            token.len() - 4..token.len() - 3,
            if token.as_bytes()[token.len() - 4] == b'A' { "B" } else { "A" },
        );
        assert_eq!(verifier.verify(&altered), Err(Distrust::NotValid));
        assert_eq!(verifier.verify("garbage"), Err(Distrust::NotValid));
    }

    #[test]
    fn two_keys_of_one_holder_are_trusted_at_once() {
        let (old, old_key) = pair("old", "ann", Holder::Operator);
        let (new, new_key) = pair("new", "ann", Holder::Operator);
        let verifier = Verifier::new("a", &[old_key, new_key]).unwrap();
        assert!(verifier.verify(&old.token(&["a"]).unwrap()).is_ok());
        assert!(verifier.verify(&new.token(&["a"]).unwrap()).is_ok());
    }
}
