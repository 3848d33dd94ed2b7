//! Passwords: hashed with argon2id, and compared by hashing again.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// 19 MiB, two passes, one lane: what is advised for argon2id on a server.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const LENGTH_MIN: usize = 8;
const LENGTH_MAX: usize = 128;

/// What is compared when an identity has no password, so that the answer takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$sKCLKpEDlMxKUP5gY3A8hh2RdcuCHkXQyFGfFb+Ix9s";

/// A password that may be set.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// A string that is not taken for a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 8 to 128 characters, none of them a control character")]
pub struct InvalidPassword;

/// The library refuses its parameters or a stored hash.
#[derive(Debug, thiserror::Error)]
#[error("argon2: {0}")]
pub struct HashFailed(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl FromStr for Password {
    type Err = InvalidPassword;

    fn from_str(text: &str) -> Result<Self, InvalidPassword> {
        let fits = (LENGTH_MIN..=LENGTH_MAX).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPassword)
        }
    }
}

fn argon2() -> Result<Argon2<'static>, HashFailed> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn failed(error: impl fmt::Display) -> HashFailed {
    HashFailed(error.to_string())
}

impl Password {
    /// Hashes it with a salt. Takes tens of milliseconds on purpose.
    pub fn hash(&self, salt: &[u8; 16]) -> Result<String, HashFailed> {
        let salt = SaltString::encode_b64(salt).map_err(failed)?;
        Ok(argon2()?.hash_password(self.0.as_bytes(), &salt).map_err(failed)?.to_string())
    }
}

/// Whether a password that was given is the one behind a hash; as slow and as false when there is no hash.
pub fn verify(given: &str, hash: Option<&str>) -> Result<bool, HashFailed> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODYS)).map_err(failed)?;
    if parsed.hash.is_none() {
        return Err(failed("a stored hash has no output"));
    }
    match argon2()?.verify_password(given.as_bytes(), &parsed) {
        Ok(()) => Ok(hash.is_some()),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_verified_by_its_hash_alone() {
        let password: Password = "correct horse".parse().unwrap();
        let hash = password.hash(&[7; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse", Some(&hash)).unwrap());
        assert!(!verify("correct horsf", Some(&hash)).unwrap());
        assert!(!verify("correct horse", None).unwrap(), "nobody's password is never right");
        assert!(
            verify("x", Some("$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg")).is_err(),
            "no output"
        );
        assert_ne!(hash, password.hash(&[8; 16]).unwrap());
        assert!(!format!("{password:?}").contains("horse"));
    }

    #[test]
    fn short_long_and_unprintable_passwords_are_refused() {
        for text in ["", "1234567", &"a".repeat(129), "abcdefg\nh"] {
            assert_eq!(text.parse::<Password>(), Err(InvalidPassword), "{text:?}");
        }
        assert!("密码密码密码密码".parse::<Password>().is_ok(), "characters are counted, not bytes");
    }
}
