//! A day of a workspace, closed for ever: canonical text and digest.

use std::fmt::Write as _;

use chassis::civil::UsageDate;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::money::{Currency, print_decimal};
use chassis::site::SiteClass;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::daily_usage::DailyLine;

/// What a workspace used on a day, and who pays.
#[derive(Debug, Clone)]
pub struct SealedDay {
    /// Of which workspace.
    pub workspace_id: WorkspaceId,
    /// On which day.
    pub usage_date: UsageDate,
    /// Who pays: the only join between usage and money.
    pub billing_account_id: BillingAccountId,
    /// In what.
    pub currency: Currency,
    /// At whose prices.
    pub site_class: SiteClass,
    /// When the payer was bound.
    pub bound_at: OffsetDateTime,
    /// Sorted by item, dimension and retention.
    pub lines: Vec<DailyLine>,
}

impl SealedDay {
    /// One line per fact, in one order: the same usage gives the same bytes, however it came.
    pub fn canonical(&self) -> String {
        let mut text = format!(
            "tallystick sealed day 1\nworkspace {}\nday {}\npayer {}\ncurrency {}\nclass {}\nbound {}\n",
            self.workspace_id,
            self.usage_date,
            self.billing_account_id,
            self.currency,
            self.site_class.word(),
            self.bound_at.unix_timestamp(),
        );
        for line in &self.lines {
            let quantity = print_decimal(line.quantity);
            // Writing to a string does not fail.
            let _ =
                writeln!(text, "line {}|{}|{}|{quantity}", line.item, line.dimension, line.retention_days);
        }
        text
    }

    /// SHA-256 of the canonical text.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }
}

/// What a sealed day must bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The day.
    pub usage_date: UsageDate,
    /// How many workspaces were commercial at any moment of it, sealed or not.
    pub workspace_count: i32,
    /// How many of them could not be sealed.
    pub failure_count: i32,
    /// Over the digests of the sealed days and the ids of the failures, each in order of workspace id.
    pub digest: Vec<u8>,
    /// From when on usage was late.
    pub closed_at: OffsetDateTime,
    /// When the last workspace was sealed.
    pub sealed_at: OffsetDateTime,
}

/// SHA-256 over the digests, in the order given; where workspaces could not be sealed, over a text that names them as well.
pub fn manifest_digest<'a>(digests: impl IntoIterator<Item = &'a [u8]>, failed: &[WorkspaceId]) -> [u8; 32] {
    let mut hash = Sha256::new();
    digests.into_iter().for_each(|digest| hash.update(digest));
    if !failed.is_empty() {
        hash.update("tallystick seal failures 1\n");
        failed.iter().for_each(|id| hash.update(format!("workspace {id}\n")));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_manifest_without_failures_is_the_digest_of_its_days_and_one_with_them_names_each() {
        let days = [[1_u8; 32], [2; 32]];
        let digest = |failed: &[u128]| {
            let failed: Vec<_> =
                failed.iter().map(|id| WorkspaceId::from_uuid(Uuid::from_u128(*id))).collect();
            manifest_digest(days.iter().map(<[u8; 32]>::as_slice), &failed)
        };
        let plain: [u8; 32] = Sha256::digest(days.concat()).into();
        assert_eq!(digest(&[]), plain);
        let text = "tallystick seal failures 1\nworkspace wksp_00000000-0000-0000-0000-000000000007\n";
        let with_text: [u8; 32] = Sha256::digest([days.concat().as_slice(), text.as_bytes()].concat()).into();
        assert_eq!(digest(&[7]), with_text);
        assert_ne!(digest(&[7]), digest(&[7, 8]));
    }
}
