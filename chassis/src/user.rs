//! Users: signed-in accounts. Their tokens are signed with keys that rotate and that account-svc publishes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use tokio::sync::Semaphore;

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

/// Keys are read again after this time: one that is no longer published is forgotten by the read that follows.
const FRESH: Duration = Duration::from_secs(60);
/// While they cannot be read, those that are known serve so long.
const STALE_MAX: Duration = Duration::from_secs(600);
/// They are not read more often, whatever unknown keys are named.
const READ_INTERVAL: Duration = Duration::from_millis(100);
/// Calls that wait for an unknown key; anybody can name one, so more are turned away at once.
const WAITING_MAX: usize = 64;

#[derive(Default)]
struct Kept {
    keys: HashMap<String, Arc<DecodingKey>>,
    read: Option<Instant>,
}

/// The last read: when it began, and whether it was answered.
#[derive(Clone, Copy)]
struct LastRead {
    begun: Instant,
    answered: bool,
}

struct Shared {
    source: Arc<dyn KeySource>,
    kept: RwLock<Kept>,
    last: Arc<tokio::sync::Mutex<Option<LastRead>>>,
    waiting: Semaphore,
}

/// The published keys, as they were read last. A key that is not among them is looked for at once, so that no call fails because a key
/// is new; calls that wait for one share a read.
pub struct UserKeys(Arc<Shared>);

impl UserKeys {
    /// Reads from this source when the first token comes.
    pub fn new(source: Arc<dyn KeySource>) -> Self {
        let waiting = Semaphore::new(WAITING_MAX);
        Self(Arc::new(Shared { source, kept: RwLock::default(), last: Arc::default(), waiting }))
    }

    /// The key of this id.
    pub async fn find(&self, kid: &str) -> Result<Arc<DecodingKey>, Distrust> {
        if !kid.starts_with(USER_KEY_PREFIX) {
            return Err(Distrust::UnknownKey);
        }
        if let Some((key, age)) = self.0.known(kid) {
            if age >= FRESH {
                Shared::read_behind(&self.0);
            }
            return Ok(key);
        }
        let _place = self.0.waiting.try_acquire().map_err(|_| Distrust::KeysUnavailable)?;
        let answered = Shared::read_after(&self.0, Instant::now()).await;
        match self.0.known(kid) {
            Some((key, _)) => Ok(key),
            None if answered => Err(Distrust::UnknownKey),
            None => Err(Distrust::KeysUnavailable),
        }
    }
}

impl Shared {
    /// A key that may serve, and how long ago it was read.
    fn known(&self, kid: &str) -> Option<(Arc<DecodingKey>, Duration)> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let age = kept.read?.elapsed();
        kept.keys.get(kid).filter(|_| age < STALE_MAX).map(|key| (Arc::clone(key), age))
    }

    /// Waits for a read that began after a moment, or makes it. True when it was answered.
    async fn read_after(this: &Arc<Self>, moment: Instant) -> bool {
        let mut last = Arc::clone(&this.last).lock_owned().await;
        if let Some(last) = last.filter(|last| last.begun >= moment) {
            return last.answered;
        }
        if let Some(wait) = last.and_then(|last| READ_INTERVAL.checked_sub(last.begun.elapsed())) {
            tokio::time::sleep(wait).await;
        }
        // A call that is given up leaves its read running: it is another's too, and counts against the interval.
        let this = Arc::clone(this);
        let reading = tokio::spawn(async move {
            let begun = Instant::now();
            let answered = this.read().await;
            *last = Some(LastRead { begun, answered });
            answered
        });
        reading.await.unwrap_or(false)
    }

    /// Reads while nobody waits for it, unless somebody reads already.
    fn read_behind(this: &Arc<Self>) {
        let Ok(mut last) = Arc::clone(&this.last).try_lock_owned() else { return };
        if last.is_some_and(|last| last.begun.elapsed() < READ_INTERVAL) {
            return;
        }
        let this = Arc::clone(this);
        tokio::spawn(async move {
            let begun = Instant::now();
            let answered = this.read().await;
            *last = Some(LastRead { begun, answered });
        });
    }

    async fn read(&self) -> bool {
        match self.source.keys().await.and_then(decoded) {
            Ok(keys) => {
                let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
                *kept = Kept { keys, read: Some(Instant::now()) };
                true
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the published keys cannot be read");
                false
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

    /// Unsigned tokens of unknown keys cost a few reads together, keep no place of others, and hold up no known key.
    #[tokio::test]
    async fn a_flood_of_unknown_keys_holds_up_nobody() {
        struct Counted(Published, std::sync::atomic::AtomicUsize);
        impl KeySource for Counted {
            fn keys(&self) -> Pin<Box<dyn Future<Output = Keys> + Send + '_>> {
                self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                self.0.keys()
            }
        }
        let (one, key) = signer("user-1", &account());
        let source = Arc::new(Counted(Published(Mutex::new(Some(vec![key]))), 0.into()));
        let shared: Arc<dyn KeySource> = source.clone();
        let keys = UserKeys::new(shared);
        let verifier = Verifier::new("a", &[]).unwrap();
        let token = one.token(&["a"]).unwrap();
        verifier.verify_any(&token, &keys).await.unwrap();
        let flood = (0..500).map(|number| keys.find(if number % 2 == 0 { "user-x" } else { "user-y" }));
        let flood = futures_util::future::join_all(flood);
        let (answers, known) = tokio::join!(flood, verifier.verify_any(&token, &keys));
        assert!(known.is_ok());
        let refused =
            |distrust| answers.iter().filter(|answer| answer.as_ref().err() == Some(&distrust)).count();
        assert_eq!(refused(Distrust::UnknownKey), WAITING_MAX);
        assert_eq!(refused(Distrust::KeysUnavailable), 500 - WAITING_MAX);
        let reads = source.1.load(std::sync::atomic::Ordering::SeqCst);
        assert!(reads <= 3, "{reads} reads");
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
