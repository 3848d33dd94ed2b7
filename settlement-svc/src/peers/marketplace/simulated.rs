//! Every vendor, until the real ones come: landing tokens that only this service can make.

use chassis::auth::Signer;

use super::{Marketplace, Resolved};
use crate::domain::cloud_account::{Purchase, Vendor};

const PURPOSE: &str = "landing";
/// Stands between the parts of a purchase; ids are visible ASCII and have none.
const SEPARATOR: char = '\n';

/// The simulated vendor.
pub struct Simulated {
    signer: Signer,
}

impl Simulated {
    /// With this service's own key.
    pub fn new(signer: Signer) -> Self {
        Self { signer }
    }
}

impl Simulated {
    fn open(&self, landing_token: &str) -> Option<Purchase> {
        let text = self.signer.open(PURPOSE, landing_token)?;
        let mut parts = text.splitn(3, SEPARATOR);
        let vendor = Vendor::from_word(parts.next()?)?;
        let (cloud_account_id, instance_id) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Purchase { vendor, cloud_account_id, instance_id })
    }
}

impl Marketplace for Simulated {
    fn resolve<'a>(&'a self, landing_token: &'a str) -> Resolved<'a> {
        let purchase = self.open(landing_token);
        Box::pin(async move { Ok(purchase) })
    }

    fn land(&self, purchase: &Purchase) -> anyhow::Result<String> {
        let Purchase { vendor, cloud_account_id, instance_id } = purchase;
        let text = format!("{}{SEPARATOR}{cloud_account_id}{SEPARATOR}{instance_id}", vendor.word());
        self.signer.seal(PURPOSE, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_landing_token_stands_for_its_purchase_and_no_other_key_makes_one() {
        let simulated = || {
            let secret = Signer::generate_secret().unwrap();
            Simulated::new(Signer::new("s1", "settlement-svc", &secret).unwrap())
        };
        let one = simulated();
        for vendor in Vendor::ALL {
            let (cloud_account_id, instance_id) = ("1234".to_owned(), "i-9".to_owned());
            let purchase = Purchase { vendor, cloud_account_id, instance_id };
            let token = one.land(&purchase).unwrap();
            assert_eq!(one.open(&token), Some(purchase));
            assert_eq!(simulated().open(&token), None);
        }
        assert_eq!(one.open("nonsense"), None);
    }
}
