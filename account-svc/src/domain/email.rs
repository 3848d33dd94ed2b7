//! The identity of a console account.

use std::fmt;
use std::str::FromStr;

/// An address: kept as it was given, compared in lower case (DEC-67). The domain may be of any script, and is compared and mailed to in its
/// ASCII form; the part before the "@" is ASCII only, since most mail servers take no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    given: String,
    key: String,
}

/// A string that is not taken for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an e-mail address: visible ASCII before one \"@\", a domain with a dot behind it, at most 254 characters"
)]
pub struct InvalidEmail;

const LENGTH_MAX: usize = 254;
const LOCAL_LENGTH_MAX: usize = 64;

impl Email {
    /// What is compared: lower case, the domain in its ASCII form. Mails are sent to it as well: no server tells cases apart.
    pub fn key(&self) -> String {
        self.key.clone()
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim_matches(' ');
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        let local_fits = (1..=LOCAL_LENGTH_MAX).contains(&local.len())
            && local.bytes().all(|byte| byte.is_ascii_graphic())
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && !local.contains(['"', '(', ')', ',', ':', ';', '<', '>', '@', '[', '\\', ']']);
        let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        let label_fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain_fits = ascii.contains('.') && ascii.split('.').all(label_fits);
        let key = format!("{}@{}", local.to_ascii_lowercase(), ascii.to_ascii_lowercase());
        if local_fits && domain_fits && key.len() <= LENGTH_MAX && text.chars().count() <= LENGTH_MAX {
            Ok(Self { given: text.to_owned(), key })
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
    fn a_domain_of_another_script_is_compared_in_its_ascii_form() {
        let one: Email = "Ann@Bücher.example".parse().unwrap();
        let same: Email = "ann@xn--bcher-kva.example".parse().unwrap();
        assert_eq!(one.to_string(), "Ann@Bücher.example");
        assert_eq!(one.key(), "ann@xn--bcher-kva.example");
        assert_eq!(one.key(), same.key());
        // A letter that only looks the same makes another domain.
        let other: Email = "ann@bücher.exаmple".parse().unwrap();
        assert_ne!(one.key(), other.key());
        let full_width: Email = "ann@ｅxample.com".parse().unwrap();
        assert_eq!(full_width.key(), "ann@example.com");
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
            "a@b ü.de",
            "a@xn--\u{0}.de",
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
