//! Sites and their price classes (REG-1, REG-2): shared values, since accounts and workspaces belong to one site for ever.

use tallystick_proto::common::v1 as common;

use crate::money::Currency;

/// The price class of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteClass {
    /// Mainland China.
    China,
    /// Hong Kong and overseas.
    Overseas,
}

/// A word that names no site or class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a known value, not unspecified")]
pub struct Unknown;

/// An independent regional installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site(common::Site);

impl Site {
    /// From its message value; UNSPECIFIED and numbers of the future are refused.
    pub fn from_wire(value: i32) -> Result<Self, Unknown> {
        match common::Site::try_from(value) {
            Ok(common::Site::Unspecified) | Err(_) => Err(Unknown),
            Ok(site) => Ok(Self(site)),
        }
    }

    /// Its message value.
    pub fn to_wire(self) -> i32 {
        self.0.into()
    }

    /// As it stands in the database: "CN1_HANGZHOU".
    pub fn word(self) -> &'static str {
        let name = self.0.as_str_name();
        name.strip_prefix("SITE_").unwrap_or(name)
    }

    /// From the database.
    pub fn from_word(word: &str) -> Result<Self, Unknown> {
        let site = common::Site::from_str_name(&format!("SITE_{word}")).ok_or(Unknown)?;
        Self::from_wire(site.into())
    }

    /// Its price class.
    pub fn class(self) -> SiteClass {
        match self.0 {
            common::Site::Cn1Hangzhou
            | common::Site::Cn2Ningxia
            | common::Site::Cn3Zhangjiakou
            | common::Site::Cn4Guangzhou => SiteClass::China,
            common::Site::Cn6HongKong
            | common::Site::Us1Oregon
            | common::Site::Eu1Frankfurt
            | common::Site::Ap1Singapore
            | common::Site::Unspecified => SiteClass::Overseas,
        }
    }

    /// What is paid in there unless the customer chooses.
    pub fn default_currency(self) -> Currency {
        match self.class() {
            SiteClass::China => Currency::Cny,
            SiteClass::Overseas => Currency::Usd,
        }
    }
}

impl SiteClass {
    /// From its message value.
    pub fn from_wire(value: i32) -> Result<Self, Unknown> {
        match common::SiteClass::try_from(value) {
            Ok(common::SiteClass::China) => Ok(Self::China),
            Ok(common::SiteClass::Overseas) => Ok(Self::Overseas),
            Ok(common::SiteClass::Unspecified) | Err(_) => Err(Unknown),
        }
    }

    /// Its message value.
    pub fn to_wire(self) -> i32 {
        match self {
            Self::China => common::SiteClass::China.into(),
            Self::Overseas => common::SiteClass::Overseas.into(),
        }
    }

    /// As it stands in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::China => "CHINA",
            Self::Overseas => "OVERSEAS",
        }
    }

    /// From the database.
    pub fn from_word(word: &str) -> Result<Self, Unknown> {
        match word {
            "CHINA" => Ok(Self::China),
            "OVERSEAS" => Ok(Self::Overseas),
            _ => Err(Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_has_a_word_that_reads_back_and_a_class() {
        let sites: Vec<Site> = (0..100).filter_map(|value| Site::from_wire(value).ok()).collect();
        assert_eq!(sites.len(), 8);
        for site in sites {
            assert_eq!(Site::from_word(site.word()), Ok(site));
        }
        assert_eq!(Site::from_word("CN1_HANGZHOU").unwrap().class(), SiteClass::China);
        assert_eq!(Site::from_word("CN6_HONG_KONG").unwrap().default_currency(), Currency::Usd);
        assert!(Site::from_word("UNSPECIFIED").is_err());
    }
}
