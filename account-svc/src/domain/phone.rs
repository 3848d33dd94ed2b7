//! Phone numbers: mainland ones only (ACC-7).

use std::fmt;
use std::str::FromStr;

/// "+86" and 11 digits, the first of them a 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone(String);

/// A string that is no such number. Numbers of Hong Kong, Macao, Taiwan and abroad are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"+86\" and 11 digits, the first of them a 1")]
pub struct InvalidPhone;

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Phone {
    type Err = InvalidPhone;

    fn from_str(text: &str) -> Result<Self, InvalidPhone> {
        let digits = text.strip_prefix("+86").ok_or(InvalidPhone)?;
        let fits =
            digits.len() == 11 && digits.starts_with('1') && digits.bytes().all(|b| b.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidPhone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mainland_numbers_are_taken() {
        assert_eq!("+8613800138000".parse::<Phone>().unwrap().to_string(), "+8613800138000");
        for text in ["13800138000", "+85251234567", "+8602112345678", "+861380013800", "+86１3800138000", ""]
        {
            assert_eq!(text.parse::<Phone>(), Err(InvalidPhone), "{text}");
        }
    }
}
