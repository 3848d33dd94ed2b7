//! Mailed codes (DEC-68): six digits, ten minutes, once, for one purpose, identity, object and requester.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long a code holds.
pub const CODE_LIFE: Duration = Duration::minutes(10);
/// A request that used a code may be repeated for so long after it has ended.
pub const REPEAT_GRACE: Duration = Duration::minutes(10);
/// Between two codes for an identity and purpose.
pub const CODE_PAUSE: Duration = Duration::seconds(60);
/// Codes for an identity and purpose within a day.
pub const CODES_MAX: i32 = 10;
/// Codes for one source within a day.
pub const CODES_FROM_SOURCE_MAX: i32 = 300;
/// Wrong codes for an identity and purpose within a day.
pub const WRONG_CODES_MAX: i32 = 20;
/// A day is counted from the first code, or the first wrong one.
pub const WINDOW: Duration = Duration::days(1);

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signing in.
    SignIn,
    /// Setting a password.
    SetPassword,
    /// Registering.
    Register,
    /// Binding a workspace to a billing account.
    BindWorkspace,
    /// Leaving the present address.
    ChangeEmailOld,
    /// Proving the new address.
    ChangeEmailNew,
    /// Changing the phone number.
    ChangePhone,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SignIn,
        Self::SetPassword,
        Self::Register,
        Self::BindWorkspace,
        Self::ChangeEmailOld,
        Self::ChangeEmailNew,
        Self::ChangePhone,
    ];

    /// As it stands in the database and in the names of templates.
    pub fn word(self) -> &'static str {
        match self {
            Self::SignIn => "SIGN_IN",
            Self::SetPassword => "SET_PASSWORD",
            Self::Register => "REGISTER",
            Self::BindWorkspace => "BIND_WORKSPACE",
            Self::ChangeEmailOld => "CHANGE_EMAIL_OLD",
            Self::ChangeEmailNew => "CHANGE_EMAIL_NEW",
            Self::ChangePhone => "CHANGE_PHONE",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.word() == word)
    }

    /// What codes and wrong tries are counted by: the same whether the identity has an account or not.
    pub fn scope(self, identity: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.word().as_bytes());
        hash.update(identity);
        hash.finalize().into()
    }
}

/// What codes from one source are counted by.
pub fn source_scope(source: &str) -> [u8; 32] {
    Sha256::digest(format!("source|{source}").as_bytes()).into()
}

/// What is kept of a challenge: whoever has the string asked for the code.
pub fn challenge_hash(challenge: &str) -> [u8; 32] {
    Sha256::digest(challenge.as_bytes()).into()
}

fn mac(secret: &[u8], label: &str, text: &[u8]) -> Hmac<Sha256> {
    // A key of any length is taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
    mac.update(label.as_bytes());
    mac.update(text);
    mac
}

/// The code of a challenge: it follows from the id and the service's secret.
pub fn derive(secret: &[u8], challenge_id: Uuid) -> String {
    let tag = mac(secret, "code|", challenge_id.as_bytes()).finalize().into_bytes();
    let number = tag.iter().take(8).fold(0_u64, |number, byte| number.wrapping_mul(256) + u64::from(*byte));
    format!("{:06}", number % 1_000_000)
}

/// Whether a given code is the one of a challenge, in a time that says nothing of how much of it is right.
pub fn is_right(secret: &[u8], challenge_id: Uuid, given: &str) -> bool {
    let expected = mac(secret, "compare|", derive(secret, challenge_id).as_bytes()).finalize().into_bytes();
    mac(secret, "compare|", given.as_bytes()).verify(&expected).is_ok()
}

/// A code that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the code follows from.
    pub challenge_id: Uuid,
    /// For what.
    pub purpose: Purpose,
    /// For whom.
    pub identity_hash: [u8; 32],
    /// For which object; empty when the purpose has none.
    pub object: String,
    /// Which account asked; empty for anybody.
    pub requester: String,
    /// Whose code it is: None when the identity has no account.
    pub account_id: Option<String>,
    /// Until when, exclusive.
    pub expires_at: OffsetDateTime,
    /// By which request it was used.
    pub used_by: Option<Uuid>,
}

/// What a code must be for to prove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// For what.
    pub purpose: Purpose,
    /// For whom.
    pub identity_hash: [u8; 32],
    /// For which object.
    pub object: &'a str,
    /// Who acts.
    pub requester: &'a str,
    /// By which request.
    pub request_id: Uuid,
}

impl Challenge {
    /// Whether it is for this, and still holds. A request may use again what it used before.
    pub fn fits(&self, wanted: &Wanted<'_>, now: OffsetDateTime) -> bool {
        self.purpose == wanted.purpose
            && self.identity_hash == wanted.identity_hash
            && self.object == wanted.object
            && self.requester == wanted.requester
            && match self.used_by {
                Some(request) => request == wanted.request_id && now < self.expires_at + REPEAT_GRACE,
                None => now < self.expires_at,
            }
    }
}

/// How many codes a scope has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The first of the day.
    pub since: OffsetDateTime,
    /// How many.
    pub count: i32,
    /// The last.
    pub last: OffsetDateTime,
}

/// The limit that is reached, and when it is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// How many are allowed.
    pub limit: i32,
    /// When to try again.
    pub retry_at: OffsetDateTime,
}

/// Counts one more code, unless the scope has had too many, or one just now.
pub fn count_code(
    sent: Option<Sent>,
    limit: i32,
    pause: Duration,
    now: OffsetDateTime,
) -> Result<Sent, Exhausted> {
    let Some(sent) = sent.filter(|sent| now < sent.since + WINDOW) else {
        return Ok(Sent { since: now, count: 1, last: now });
    };
    if now < sent.last + pause {
        return Err(Exhausted { limit: 1, retry_at: sent.last + pause });
    }
    if sent.count >= limit {
        return Err(Exhausted { limit, retry_at: sent.since + WINDOW });
    }
    Ok(Sent { count: sent.count + 1, last: now, ..sent })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-26 02:00 UTC);
    const SECRET: &[u8] = b"a secret of these tests only, long enough";

    fn challenge() -> Challenge {
        Challenge {
            challenge_id: Uuid::from_u128(1),
            purpose: Purpose::BindWorkspace,
            identity_hash: [1; 32],
            object: "wksp_1".into(),
            requester: "acnt_1".into(),
            account_id: Some("bacc_1".into()),
            expires_at: NOW + CODE_LIFE,
            used_by: None,
        }
    }

    fn wanted() -> Wanted<'static> {
        Wanted {
            purpose: Purpose::BindWorkspace,
            identity_hash: [1; 32],
            object: "wksp_1",
            requester: "acnt_1",
            request_id: Uuid::from_u128(9),
        }
    }

    #[test]
    fn a_code_is_six_digits_of_its_challenge_and_secret() {
        let code = derive(SECRET, Uuid::from_u128(1));
        assert_eq!(code.len(), 6);
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()));
        assert!(is_right(SECRET, Uuid::from_u128(1), &code));
        assert!(!is_right(SECRET, Uuid::from_u128(2), &code));
        assert!(!is_right(b"another", Uuid::from_u128(1), &code));
        assert!(!is_right(SECRET, Uuid::from_u128(1), ""));
    }

    #[test]
    fn a_code_is_bound_to_purpose_identity_object_and_requester_and_ends_after_ten_minutes() {
        assert!(challenge().fits(&wanted(), NOW));
        assert!(challenge().fits(&wanted(), NOW + CODE_LIFE - Duration::MICROSECOND));
        assert!(!challenge().fits(&wanted(), NOW + CODE_LIFE), "ten minutes");
        assert!(!challenge().fits(&Wanted { purpose: Purpose::SignIn, ..wanted() }, NOW));
        assert!(!challenge().fits(&Wanted { identity_hash: [2; 32], ..wanted() }, NOW));
        assert!(!challenge().fits(&Wanted { object: "wksp_2", ..wanted() }, NOW));
        assert!(!challenge().fits(&Wanted { requester: "acnt_2", ..wanted() }, NOW));
    }

    #[test]
    fn a_code_works_once_but_for_the_request_that_used_it() {
        let used = Challenge { used_by: Some(Uuid::from_u128(9)), ..challenge() };
        assert!(used.fits(&wanted(), NOW + CODE_LIFE), "its own repeat");
        assert!(!used.fits(&wanted(), NOW + CODE_LIFE + REPEAT_GRACE), "which must not come too late");
        assert!(!used.fits(&Wanted { request_id: Uuid::from_u128(8), ..wanted() }, NOW));
    }

    #[test]
    fn one_code_a_minute_and_ten_a_day() {
        let mut sent = None;
        let mut now = NOW;
        for number in 1..=CODES_MAX {
            let counted = count_code(sent, CODES_MAX, CODE_PAUSE, now).unwrap();
            assert_eq!(counted.count, number);
            let soon = count_code(Some(counted), CODES_MAX, CODE_PAUSE, now + Duration::seconds(59));
            assert_eq!(soon, Err(Exhausted { limit: 1, retry_at: now + CODE_PAUSE }));
            sent = Some(counted);
            now += CODE_PAUSE;
        }
        let refused = count_code(sent, CODES_MAX, CODE_PAUSE, now);
        assert_eq!(refused, Err(Exhausted { limit: CODES_MAX, retry_at: NOW + WINDOW }));
        assert_eq!(count_code(sent, CODES_MAX, CODE_PAUSE, NOW + WINDOW).unwrap().count, 1);
    }

    #[test]
    fn scopes_of_two_purposes_differ_and_words_read_back() {
        assert_ne!(Purpose::SignIn.scope(&[1; 32]), Purpose::SetPassword.scope(&[1; 32]));
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_word(purpose.word()), Some(purpose));
        }
    }
}
