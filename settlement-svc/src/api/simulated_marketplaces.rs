//! `SimulatedMarketplaceService`

use chassis::id::SubscriptionId;
use chassis::money::Currency;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::settlement::v1::simulated_marketplace_service_server::SimulatedMarketplaceService;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event as WireEvent;
use tallystick_proto::settlement::v1::{
    SimulatedMarketplaceServiceSubscribeRequest, SimulatedMarketplaceServiceSubscribeResponse,
    SimulatedMarketplaceServiceTellRequest, SimulatedMarketplaceServiceTellResponse,
};
use tonic::{Code, Request, Response, Status};

use super::cloud_accounts::{purchase, subscription};
use crate::app::App;
use crate::app::hear_of_subscription::{VendorRejection, note_purchase, tell_simulated};
use crate::domain::cloud_account::{Event, Vendor};

pub struct Room {
    pub app: App,
}

impl From<VendorRejection> for Refusal {
    fn from(rejection: VendorRejection) -> Self {
        match rejection {
            VendorRejection::NotATestDatabase => {
                let message = "the simulated marketplace is there only on a database with the test flag";
                Self::new(Code::FailedPrecondition, ErrorReason::NotATestDatabase, message)
            }
            VendorRejection::NoSubscription(id) => Self::not_found("subscription", id),
            VendorRejection::Ended(id) => {
                let message = format!("{id} has ended");
                Self::new(Code::FailedPrecondition, ErrorReason::SubscriptionEnded, message)
                    .with("subscriptionId", id)
            }
        }
    }
}

#[tonic::async_trait]
impl SimulatedMarketplaceService for Room {
    async fn subscribe(
        &self,
        request: Request<SimulatedMarketplaceServiceSubscribeRequest>,
    ) -> Result<Response<SimulatedMarketplaceServiceSubscribeResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let ids = (request.vendor, &*request.cloud_account_id, &*request.instance_id);
        let bought = purchase(&mut violations, "", ids);
        let currency = violations.parse::<Currency>("currency_code", &request.currency_code);
        let is_azure = bought.as_ref().is_some_and(|bought| bought.vendor == Vendor::Azure);
        if is_azure && currency == Some(Currency::Cny) {
            violations.add("currency_code", "must be USD: Azure charges in no other");
        }
        let (bought, currency) = violations.into_result(bought.zip(currency))?;
        let (noted, landing_token) = note_purchase(&self.app, bought, currency).await?;
        let subscription = Some(subscription(&noted));
        Ok(Response::new(SimulatedMarketplaceServiceSubscribeResponse { subscription, landing_token }))
    }

    async fn tell(
        &self,
        request: Request<SimulatedMarketplaceServiceTellRequest>,
    ) -> Result<Response<SimulatedMarketplaceServiceTellResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<SubscriptionId>("subscription_id", &request.subscription_id);
        let event = match WireEvent::try_from(request.event) {
            Ok(WireEvent::Closed) => Some(Event::Closed),
            Ok(WireEvent::Expired) => Some(Event::Expired),
            Ok(WireEvent::Frozen) => Some(Event::Frozen),
            Ok(WireEvent::Reinstated) => Some(Event::Reinstated),
            Ok(WireEvent::Unspecified) | Err(_) => {
                violations.add("event", "must be a known value, not unspecified");
                None
            }
        };
        let (id, event) = violations.into_result(id.zip(event))?;
        let told = tell_simulated(&self.app, id, event).await?;
        Ok(Response::new(SimulatedMarketplaceServiceTellResponse { subscription: Some(subscription(&told)) }))
    }
}
