//! The identity of a billing account.

use std::fmt;
use std::str::FromStr;

/// A user name: shown as it was given, compared without regard to case, never changed (DEC-67, CF-3). ASCII only, so that no
/// two look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// A string that is not taken for a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 4 to 64 of letters, digits, \".\", \"_\", \"-\", beginning with a letter or digit")]
pub struct InvalidUsername;

impl Username {
    /// What is compared.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(text: &str) -> Result<Self, InvalidUsername> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if (4..=64).contains(&text.len()) && begins && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidUsername)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_compared_without_regard_to_case() {
        let name: Username = "Acme-Ltd".parse().unwrap();
        assert_eq!(name.to_string(), "Acme-Ltd");
        assert_eq!(name.key(), "acme-ltd");
    }

    #[test]
    fn what_is_no_user_name_is_refused() {
        for text in ["", "abc", ".abcd", "ab cd", "abcd@", "аbcd", "abcd\u{200b}"] {
            assert_eq!(text.parse::<Username>(), Err(InvalidUsername), "{text:?}");
        }
        assert!("a".repeat(65).parse::<Username>().is_err());
        assert!("4you".parse::<Username>().is_ok());
    }
}
