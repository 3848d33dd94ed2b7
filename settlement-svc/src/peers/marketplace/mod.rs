//! The marketplaces, in this service's words: one trait, whoever the vendor.

pub mod simulated;

use std::future::Future;
use std::pin::Pin;

use crate::domain::cloud_account::Purchase;

/// What a landing token stands for; None when it is none, or too old.
pub type Resolved<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Option<Purchase>>> + Send + 'a>>;

/// A vendor's marketplace.
pub trait Marketplace: Send + Sync {
    /// Asks for the purchase that a landing token stands for.
    fn resolve<'a>(&'a self, landing_token: &'a str) -> Resolved<'a>;

    /// A landing token for a purchase, for the vendor's part that is played here.
    fn land(&self, purchase: &Purchase) -> anyhow::Result<String>;
}
