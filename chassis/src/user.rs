//! Users: signed-in accounts. Their tokens are signed with keys that rotate and that account-svc publishes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;

use crate::auth::Distrust;
use crate::id::{BillingAccountId, ConsoleAccountId, InvalidId};

/// What the id of every key begins with that a user's token may be signed with.
pub const USER_KEY_PREFIX: &str = "user-";

/// A signed-in account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// A console account.
    Console(ConsoleAccountId),
    /// A billing account.
    Billing(BillingAccountId),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console(id) => id.fmt(f),
            Self::Billing(id) => id.fmt(f),
        }
    }
}

impl FromStr for User {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self::Console).or_else(|_| text.parse().map(Self::Billing))
    }
}

/// Keys and their ids.
pub type Keys = anyhow::Result<Vec<(String, String)>>;

/// Where the published keys are read: id, and public key in base64url.
pub trait KeySource: Send + Sync {
    /// All of them.
    fn keys(&self) -> Pin<Box<dyn Future<Output = Keys> + Send + '_>>;
}

/// Keys are read again after this time: one that is no longer published is forgotten by then.
const FRESH: Duration = Duration::from_secs(60);
/// While they cannot be read, those that are known serve so long.
const STALE_MAX: Duration = Duration::from_secs(600);
/// They are not read more often, whatever unknown keys are named: who names one waits his turn.
const READ_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Kept {
    keys: HashMap<String, Arc<DecodingKey>>,
    read: Option<Instant>,
}

/// The published keys, as they were read last. A key that is not among them is looked for at once, so that no call fails because a key
/// is new.
pub struct UserKeys {
    source: Arc<dyn KeySource>,
    kept: RwLock<Kept>,
    last_try: tokio::sync::Mutex<Option<Instant>>,
}

impl UserKeys {
    /// Reads from this source when the first token comes.
    pub fn new(source: Arc<dyn KeySource>) -> Self {
        Self { source, kept: RwLock::default(), last_try: tokio::sync::Mutex::new(None) }
    }

    fn known(&self, kid: &str, age_max: Duration) -> Option<Arc<DecodingKey>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.read.filter(|read| read.elapsed() < age_max).and_then(|_| kept.keys.get(kid).cloned())
    }

    /// The key of this id.
    pub async fn find(&self, kid: &str) -> Result<Arc<DecodingKey>, Distrust> {
        if !kid.starts_with(USER_KEY_PREFIX) {
            return Err(Distrust::UnknownKey);
        }
        if let Some(key) = self.known(kid, FRESH) {
            return Ok(key);
        }
        let mut last_try = self.last_try.lock().await;
        if let Some(key) = self.known(kid, FRESH) {
            return Ok(key);
        }
        if let Some(wait) = last_try.and_then(|last| READ_INTERVAL.checked_sub(last.elapsed())) {
            tokio::time::sleep(wait).await;
        }
        let read = self.source.keys().await;
        *last_try = Some(Instant::now());
        match read.and_then(decoded) {
            Ok(keys) => {
                let found = keys.get(kid).cloned();
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) =
                    Kept { keys, read: Some(Instant::now()) };
                found.ok_or(Distrust::UnknownKey)
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the published keys cannot be read");
                self.known(kid, STALE_MAX).ok_or(Distrust::KeysUnavailable)
            }
        }
    }
}

fn decoded(keys: Vec<(String, String)>) -> anyhow::Result<HashMap<String, Arc<DecodingKey>>> {
    let decode = |(kid, public): (String, String)| {
        let key = DecodingKey::from_ed_components(&public)?;
        Ok((kid, Arc::new(key)))
    };
    keys.into_iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::auth::{Holder, Signer, Verifier};

    #[derive(Default)]
    struct Published(Mutex<Option<Vec<(String, String)>>>);

    impl KeySource for Published {
        fn keys(&self) -> Pin<Box<dyn Future<Output = Keys> + Send + '_>> {
            let keys = self.0.lock().unwrap().clone();
            Box::pin(async move { keys.ok_or_else(|| anyhow::anyhow!("silence")) })
        }
    }

    fn signer(kid: &str, subject: &str) -> (Signer, (String, String)) {
        let signer = Signer::new(kid, subject, &Signer::generate_secret().unwrap()).unwrap();
        let key = signer.trusted_key(Holder::Operator);
        (signer, (key.kid, key.x))
    }

    fn account() -> String {
        ConsoleAccountId::from_uuid(uuid::Uuid::from_u128(7)).to_string()
    }

    #[tokio::test]
    async fn a_token_of_a_published_key_proves_its_user() {
        let (one, key) = signer("user-1", &account());
        let source = Arc::new(Published(Mutex::new(Some(vec![key]))));
        let keys = UserKeys::new(source);
        let verifier = Verifier::new("a", &[]).unwrap();
        let caller = verifier.verify_any(&one.token(&["a"]).unwrap(), &keys).await.unwrap();
        assert_eq!(caller.label(), format!("USER:{}", account()));
        let elsewhere = verifier.verify_any(&one.token(&["b"]).unwrap(), &keys).await;
        assert_eq!(elsewhere, Err(Distrust::WrongAudience));
        let (impostor, _) = signer("user-1", &account());
        let forged = verifier.verify_any(&impostor.token(&["a"]).unwrap(), &keys).await;
        assert_eq!(forged, Err(Distrust::NotValid));
        let (nobody, key) = signer("user-2", "billing-svc");
        let keys = UserKeys::new(Arc::new(Published(Mutex::new(Some(vec![key])))));
        let no_account = verifier.verify_any(&nobody.token(&["a"]).unwrap(), &keys).await;
        assert_eq!(no_account, Err(Distrust::NotValid), "a published key makes no service");
    }

    #[tokio::test]
    async fn a_new_key_is_looked_for_at_once_and_silence_is_no_refusal() {
        let (old, old_key) = signer("user-old", &account());
        let (new, new_key) = signer("user-new", &account());
        let source = Arc::new(Published(Mutex::new(Some(vec![old_key.clone()]))));
        let shared: Arc<dyn KeySource> = source.clone();
        let keys = UserKeys::new(shared);
        let verifier = Verifier::new("a", &[]).unwrap();
        let check = async |signer: &Signer| verifier.verify_any(&signer.token(&["a"]).unwrap(), &keys).await;
        assert!(check(&old).await.is_ok());
        assert_eq!(check(&new).await, Err(Distrust::UnknownKey));
        *source.0.lock().unwrap() = Some(vec![old_key, new_key]);
        assert!(check(&new).await.is_ok() && check(&old).await.is_ok());
        *source.0.lock().unwrap() = None;
        assert!(check(&new).await.is_ok(), "what is known serves while the source is silent");
        let (unknown, _) = signer("user-unknown", &account());
        assert_eq!(check(&unknown).await, Err(Distrust::KeysUnavailable));
    }
}
