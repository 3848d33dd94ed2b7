//! workspace-svc: the manifest of a day, what could not be sealed of it, and its sealed days in order of payer.

use chassis::civil::UsageDate;
use chassis::failure::Failure;
use chassis::id::WorkspaceId;
use chassis::money::Currency;
use chassis::peer::{PeerChannel, silence};
use chassis::site::SiteClass;
use chassis::status::reason_of;
use chassis::wire;
use rust_decimal::Decimal;
use tallystick_proto::workspace::v1 as messages;
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::usage_service_stream_sealed_days_response::Part;
use tonic::{Request, Streaming};

use crate::domain::bill_run::RunFailure;
use crate::domain::rating::Quantity;
use crate::domain::sealed_day::SealedDay;

const PEER: &str = "workspace-svc";
/// Reading a day of 100,000 workspaces takes a while.
const STREAM_DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

/// One workspace with very many log indexes is listed as a failure; it must not keep the day of all others from being read.
const SEALED_DAY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The day has no manifest.
#[derive(Debug)]
pub struct NotSealed;

/// The client.
#[derive(Clone)]
pub struct SealedDays(UsageServiceClient<PeerChannel>);

/// A workspace of the manifest.
pub enum Counted {
    /// It is sealed.
    Sealed(SealedDay),
    /// It could not be.
    Failed(RunFailure),
}

/// A day that is being read: each workspace comes once, whatever is sealed meanwhile.
pub struct Reading {
    /// How many workspaces the manifest names.
    pub workspace_count: i32,
    stream: Streaming<messages::UsageServiceStreamSealedDaysResponse>,
}

impl SealedDays {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(UsageServiceClient::new(channel).max_decoding_message_size(SEALED_DAY_BYTES_MAX))
    }

    /// Opens a sealed day: its manifest now, its workspaces one by one.
    pub async fn open(&self, day: UsageDate) -> Result<Reading, Failure<NotSealed>> {
        let mut request = Request::new(messages::UsageServiceStreamSealedDaysRequest {
            usage_date: Some(wire::date(day)),
            ..Default::default()
        });
        request.set_timeout(STREAM_DEADLINE);
        let mut stream = match self.0.clone().stream_sealed_days(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if reason_of(&status).as_deref() == Some("DAY_NOT_SEALED") => {
                return Err(Failure::Rejected(NotSealed));
            }
            Err(status) => return Err(Failure::Transient(silence(PEER, &status))),
        };
        let first = stream.message().await.map_err(|status| Failure::Transient(silence(PEER, &status)))?;
        match first.and_then(|first| first.part) {
            Some(Part::Manifest(manifest)) => {
                Ok(Reading { workspace_count: manifest.workspace_count, stream })
            }
            _ => Err(Failure::fatal(format!("{PEER} sent no manifest of {day}"))),
        }
    }
}

impl Reading {
    /// The next workspace, those that failed before the others; None at the end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Counted>> {
        let message = self.stream.message().await.map_err(|status| silence(PEER, &status))?;
        match message.map(|message| message.part) {
            None => Ok(None),
            Some(Some(Part::SealedDay(day))) => Ok(Some(Counted::Sealed(sealed_day(day)?))),
            Some(Some(Part::SealFailure(failure))) => Ok(Some(Counted::Failed(not_sealed(&failure)?))),
            Some(_) => anyhow::bail!("{PEER} sent neither a sealed day nor a failure"),
        }
    }
}

fn not_sealed(failure: &messages::SealFailure) -> anyhow::Result<RunFailure> {
    let id = failure.workspace_id.parse::<WorkspaceId>();
    let id = id.map_err(|_| anyhow::anyhow!("{PEER} sent a failure of {:?}", failure.workspace_id))?;
    let reason = failure.reason().as_str_name().trim_start_matches("REASON_");
    Ok(RunFailure::not_sealed(id, format!("{reason}: {}", failure.problem)))
}

fn sealed_day(day: messages::SealedDay) -> anyhow::Result<SealedDay> {
    let id = day.workspace_id.clone();
    let broken = |field: &str| anyhow::anyhow!("{PEER} sent a sealed day of {id} with a broken {field}");
    let date = day.usage_date.ok_or_else(|| broken("usage_date"))?;
    let quantity = |line: messages::SealedLine| -> anyhow::Result<Quantity> {
        let quantity = Decimal::from_str_exact(&line.quantity).map_err(|_| broken("quantity"))?;
        Ok(Quantity {
            item: line.item,
            dimension: line.dimension,
            retention_days: line.retention_days,
            quantity,
        })
    };
    let quantities: anyhow::Result<Vec<_>> = day.lines.into_iter().map(quantity).collect();
    Ok(SealedDay {
        workspace_id: id.parse().map_err(|_| broken("workspace_id"))?,
        usage_date: UsageDate::from_ymd(date.year, date.month, date.day).map_err(|_| broken("usage_date"))?,
        billing_account_id: day.billing_account_id.parse().map_err(|_| broken("billing_account_id"))?,
        currency: day.currency_code.parse::<Currency>().map_err(|_| broken("currency_code"))?,
        site_class: SiteClass::from_wire(day.site_class).map_err(|_| broken("site_class"))?,
        quantities: quantities?,
        digest: wire::digest(&day.digest).map_err(|_| broken("digest"))?,
    })
}
