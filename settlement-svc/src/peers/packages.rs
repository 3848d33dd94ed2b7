//! billing-svc: does a yearly package run?

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::peer::{PeerChannel, silence};
use chassis::wire::date;
use tallystick_proto::billing::v1::PackageServiceListRequest;
use tallystick_proto::billing::v1::package_service_client::PackageServiceClient;

const PEER: &str = "billing-svc";

/// The client.
#[derive(Clone)]
pub struct Packages(PackageServiceClient<PeerChannel>);

impl Packages {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(PackageServiceClient::new(channel))
    }

    /// Whether a package of the account runs on a day, or will.
    pub async fn run<R>(&self, id: BillingAccountId, day: UsageDate) -> Result<bool, Failure<R>> {
        let request = PackageServiceListRequest {
            billing_account_id: id.to_string(),
            running_date: Some(date(day)),
            page_size: 1,
            ..Default::default()
        };
        let answer = self.0.clone().list(request).await;
        let answer = answer.map_err(|status| Failure::Transient(silence(PEER, &status)))?;
        Ok(!answer.into_inner().packages.is_empty())
    }
}
