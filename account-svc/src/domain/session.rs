//! Sessions: a family of refresh tokens, each usable once, and the keys that sign access tokens.

use chassis::auth::User;
use chassis::site::Site;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::email::Email;
use super::username::Username;

/// How long a refresh token lives.
pub const REFRESH_LIFE: Duration = Duration::days(30);
/// After so many wrong tries an identity pauses (DEC-68).
pub const WRONG_TRIES_MAX: i32 = 20;
/// Wrong tries are counted from the first for so long.
pub const TRIES_WINDOW: Duration = Duration::days(1);
/// A key signs for so long before the next one does.
pub const KEY_LIFE: Duration = Duration::days(1);
/// A key is published so long before it signs: longer than any service keeps what was published.
pub const KEY_LEAD: Duration = Duration::minutes(2);
/// A key may sign on for so long after the next one has begun: a process that cannot derive the next one makes another no more often.
pub const KEY_OVERLAP: Duration = Duration::minutes(1);
/// A key is published until the last token of it has ended, and a minute.
pub const KEY_AFTERLIFE: Duration = Duration::minutes(12);

/// Who wants to sign in: the sole identity of each kind of account (ACC-2).
#[derive(Debug, Clone)]
pub enum Identity {
    /// A console account, by the address on its site.
    Console(Site, Email),
    /// A billing account.
    Billing(Username),
}

impl Identity {
    /// What wrong tries are counted by: says nothing of who it is, and is the same whether there is an account or not.
    pub fn hash(&self) -> [u8; 32] {
        let text = match self {
            Self::Console(site, email) => format!("console|{}|{}", site.word(), email.key()),
            Self::Billing(username) => format!("billing|{}", username.key()),
        };
        Sha256::digest(text.as_bytes()).into()
    }
}

/// A refresh token as it is kept.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    /// Of which session.
    pub session_id: Uuid,
    /// Who is signed in.
    pub user: User,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// It was exchanged already.
    pub used: bool,
    /// The session has ended.
    pub session_ended: bool,
}

/// What to do with a refresh token that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Give the next one.
    Renew,
    /// Refuse.
    Refuse,
    /// Refuse, and end the session: somebody has a copy.
    EndSession,
}

impl RefreshToken {
    /// A token that was used before ends its session, however old it is.
    pub fn exchange(&self, now: OffsetDateTime) -> Exchange {
        match (self.session_ended, self.used) {
            (true, _) => Exchange::Refuse,
            (false, true) => Exchange::EndSession,
            (false, false) if now >= self.expires_at => Exchange::Refuse,
            (false, false) => Exchange::Renew,
        }
    }
}

/// A public key of access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// "user-" and a UUID.
    pub key_id: String,
    /// Ed25519.
    pub public_key: [u8; 32],
    /// From when on it signs.
    pub signs_from: OffsetDateTime,
}

/// The keys that may sign now, the one that should first: the newest that has begun, then those whose successor has only just begun. Keys
/// come in order of their beginning.
pub fn signing_keys(keys: &[SessionKey], now: OffsetDateTime) -> impl Iterator<Item = &SessionKey> {
    let begun = keys.iter().rev().skip_while(move |key| key.signs_from > now);
    let successors = begun.clone().map(|key| Some(key.signs_from));
    begun
        .zip(std::iter::once(None).chain(successors))
        .take_while(move |(_, successor)| successor.is_none_or(|begins| now < begins + KEY_OVERLAP))
        .map(|(key, _)| key)
}

/// The keys that a token may be signed with now, or soon.
pub fn published_keys(keys: &[SessionKey], now: OffsetDateTime) -> &[SessionKey] {
    let begin = keys.iter().rposition(|key| key.signs_from + KEY_AFTERLIFE <= now).unwrap_or(0);
    keys.get(begin..).unwrap_or_default()
}

/// When the next key is to sign, if it is to be made now.
pub fn next_key_from(keys: &[SessionKey], now: OffsetDateTime) -> Option<OffsetDateTime> {
    match keys.last() {
        None => Some(now),
        Some(last) if now >= last.signs_from + KEY_LIFE => Some(now + KEY_LEAD),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use chassis::id::ConsoleAccountId;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    fn token(used: bool, session_ended: bool) -> RefreshToken {
        let user = User::Console(ConsoleAccountId::from_uuid(Uuid::nil()));
        RefreshToken { session_id: Uuid::nil(), user, expires_at: NOW + REFRESH_LIFE, used, session_ended }
    }

    #[test]
    fn a_refresh_token_works_once_and_ends_its_session_the_second_time() {
        assert_eq!(token(false, false).exchange(NOW), Exchange::Renew);
        assert_eq!(token(true, false).exchange(NOW), Exchange::EndSession);
        assert_eq!(token(true, false).exchange(NOW + REFRESH_LIFE), Exchange::EndSession);
        assert_eq!(token(false, true).exchange(NOW), Exchange::Refuse);
        assert_eq!(token(false, false).exchange(NOW + REFRESH_LIFE), Exchange::Refuse);
    }

    fn key(name: &str, signs_from: OffsetDateTime) -> SessionKey {
        SessionKey { key_id: name.to_owned(), public_key: [0; 32], signs_from }
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_ended() {
        let keys = [key("a", NOW - KEY_LIFE), key("b", NOW)];
        let ids = |now| published_keys(&keys, now).iter().map(|key| key.key_id.as_str()).collect::<Vec<_>>();
        let signing = |now| signing_keys(&keys, now).map(|key| key.key_id.as_str()).collect::<Vec<_>>();
        assert_eq!(signing(NOW - Duration::SECOND), ["a"]);
        assert_eq!(ids(NOW - KEY_LEAD), ["a", "b"]);
        assert_eq!(signing(NOW), ["b", "a"]);
        assert_eq!(signing(NOW + KEY_OVERLAP), ["b"]);
        let life = Duration::try_from(chassis::auth::TOKEN_LIFE).unwrap();
        assert!(KEY_OVERLAP + life < KEY_AFTERLIFE, "every token ends before its key is forgotten");
        assert_eq!(ids(NOW + KEY_AFTERLIFE - Duration::SECOND), ["a", "b"]);
        assert_eq!(ids(NOW + KEY_AFTERLIFE), ["b"]);
    }

    #[test]
    fn a_key_signs_for_a_day_and_the_next_is_published_ahead() {
        assert_eq!(next_key_from(&[], NOW), Some(NOW));
        let keys = [key("a", NOW - KEY_LIFE)];
        assert_eq!(next_key_from(&keys, NOW - Duration::SECOND), None);
        assert_eq!(next_key_from(&keys, NOW), Some(NOW + KEY_LEAD));
        assert_eq!(next_key_from(&[key("a", NOW + KEY_LEAD)], NOW), None);
    }

    #[test]
    fn wrong_tries_are_counted_by_identity_whatever_its_case() {
        let hash = |name: &str| Identity::Billing(name.parse().unwrap()).hash();
        assert_eq!(hash("Acme-Ltd"), hash("acme-ltd"));
        assert_ne!(hash("acme-ltd"), hash("acme-inc"));
        let site = |word: &str| Site::from_word(word).unwrap();
        let console = |word: &str| Identity::Console(site(word), "A@x.de".parse().unwrap()).hash();
        assert_ne!(console("CN1_HANGZHOU"), console("US1_OREGON"));
    }
}
