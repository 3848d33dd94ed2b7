//! Who pays.

use std::str::FromStr;

use chassis::id::BillingAccountId;
use chassis::money::Currency;
use time::OffsetDateTime;

use super::account_state::AccountState;
use super::email::Email;
use super::phone::Phone;
use super::username::Username;

/// A billing account.
#[derive(Debug, Clone)]
pub struct BillingAccount {
    /// Its id.
    pub billing_account_id: BillingAccountId,
    /// Its identity over all sites.
    pub username: Username,
    /// Its one currency, for ever (DEC-53).
    pub currency: Currency,
    /// Where codes and bills are mailed to.
    pub email: Option<Email>,
    /// Its phone number.
    pub phone: Option<Phone>,
    /// What it says of itself.
    pub profile: BillingProfile,
    /// What it was verified as.
    pub enterprise: Option<Enterprise>,
    /// Whether it is open.
    pub state: AccountState,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// What a billing account says of itself (ACC-11).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BillingProfile {
    /// The company.
    pub company_name: String,
    /// Its industry.
    pub industry: String,
    /// Its region.
    pub region: String,
    /// What it does.
    pub company_description: String,
    /// Whom to ask for.
    pub contact_name: String,
}

/// A verified enterprise (ACC-14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enterprise {
    /// As on the business licence.
    pub company_name: String,
    /// What decides whether two accounts are the same enterprise (DEC-72).
    pub taxpayer_number: TaxpayerNumber,
    /// When an operator verified it.
    pub verified_at: OffsetDateTime,
}

/// 15 to 20 digits and upper-case letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxpayerNumber(String);

/// A string that is no taxpayer number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 15 to 20 of digits and upper-case letters")]
pub struct InvalidTaxpayerNumber;

impl TaxpayerNumber {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaxpayerNumber {
    type Err = InvalidTaxpayerNumber;

    fn from_str(text: &str) -> Result<Self, InvalidTaxpayerNumber> {
        let text = text.trim();
        let allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
        if (15..=20).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTaxpayerNumber)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taxpayer_numbers_are_compared_without_outer_blanks() {
        let one: TaxpayerNumber = " 91330106MA27Y5XH5K ".parse().unwrap();
        assert_eq!(one, "91330106MA27Y5XH5K".parse().unwrap());
        for text in ["91330106ma27y5xh5k", "123", "91330106MA27Y5XH5K9999", ""] {
            assert_eq!(text.parse::<TaxpayerNumber>(), Err(InvalidTaxpayerNumber), "{text}");
        }
    }
}
