//! The identity of a console account.

use std::fmt;
use std::str::FromStr;

/// An address: kept as it was given, compared in lower case (DEC-67).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// A string that is not taken for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address: one \"@\", a dot in the domain, visible ASCII, at most 254 characters")]
pub struct InvalidEmail;

const LENGTH_MAX: usize = 254;
const LOCAL_LENGTH_MAX: usize = 64;

impl Email {
    /// What is compared.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim_matches(' ');
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let local_fits = (1..=LOCAL_LENGTH_MAX).contains(&local.len())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && !local.contains(['"', '(', ')', ',', ':', ';', '<', '>', '[', '\\', ']']);
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain_fits = domain.contains('.') && domain.split('.').all(label_fits);
        if visible && local_fits && domain_fits && text.len() <= LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEmail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_differ_in_case_or_outer_blanks_are_the_same() {
        let one: Email = " Ann.Lee@Example.com ".parse().unwrap();
        assert_eq!(one.to_string(), "Ann.Lee@Example.com");
        assert_eq!(one.key(), "ann.lee@example.com");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "@",
            "a@b",
            "a@b.",
            "a@.b",
            "a b@c.de",
            "a@b@c.de",
            "ä@b.de",
            "a@bücher.de",
            ".a@b.de",
            "a..b@c.de",
            "a@-b.de",
            "a\n@b.de",
            "<a>@b.de",
        ] {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text:?}");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<Email>().is_err());
        assert!("a+tag@sub.example.co".parse::<Email>().is_ok());
    }
}
