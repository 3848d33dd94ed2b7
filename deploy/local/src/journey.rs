//! A customer's first billed day, step by step, through gRPC. Every step may be repeated: what was done before is found, not
//! done again.

use std::time::Duration;

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::id::derived;
use chassis::wire;
use tallystick_proto::account::v1::{Registration, RegistrationServiceRegisterRequest};
use tallystick_proto::billing::v1::bill_run::State;
use tallystick_proto::billing::v1::{
    Bill, BillRun, BillRunServiceCreateRequest, BillRunServiceGetRequest, BillRunServiceListFailuresRequest,
    BillServiceGetRequest, BillServiceListRequest,
};
use tallystick_proto::common::v1::{ErrorReason, Money};
use tallystick_proto::settlement::v1::{
    Balance, Settlement, SettlementServiceGetRequest, WalletServiceGetBalanceRequest,
    WalletServiceGrantVoucherRequest, WalletServiceTopUpRequest,
};
use tallystick_proto::workspace::v1::{
    DataType, Manifest, UsagePoint, UsageRecord, UsageRefusal, UsageServiceIngestBatchRequest,
    UsageServiceReportPointsRequest, UsageServiceSealDayRequest, WorkspaceServiceSetRetentionRequest,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clients::Clients;

/// Longer than this nobody waits for a bill or its settlement.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who the customer is.
#[derive(Debug, Clone)]
pub struct Customer {
    /// All request ids follow from it.
    pub namespace: Uuid,
    /// Where.
    pub site: i32,
    /// In what; empty for the site's own.
    pub currency_code: String,
    /// The console account.
    pub email: String,
    /// The billing account.
    pub username: String,
    /// The workspace.
    pub workspace_name: String,
    /// The first password of both accounts; empty for none.
    pub password: String,
}

/// How a batch of usage went.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Counted now.
    pub accepted_count: i32,
    /// Counted before.
    pub known_count: i32,
}

/// One customer at work.
#[derive(Clone)]
pub struct Journey {
    /// Its clients.
    pub clients: Clients,
    /// Its customer.
    pub customer: Customer,
}

impl Journey {
    fn request_id(&self, step: &str) -> String {
        derived(self.customer.namespace, step).to_string()
    }

    /// Console account, billing account, workspace and binding, in one call.
    pub async fn register(&self) -> anyhow::Result<Registration> {
        let customer = self.customer.clone();
        let request = RegistrationServiceRegisterRequest {
            request_id: self.request_id("register"),
            site: customer.site,
            email: customer.email,
            username: customer.username,
            currency_code: customer.currency_code,
            workspace_name: customer.workspace_name,
            password: customer.password,
            ..Default::default()
        };
        let answer = self.clients.registrations.clone().register(request).await.context("registering")?;
        answer.into_inner().registration.context("the answer has no registration")
    }

    /// The first full day of the customer: the one after its registration.
    pub fn first_day(registration: &Registration) -> anyhow::Result<UsageDate> {
        let created = registration.create_time.as_ref().and_then(wire::instant);
        Ok(UsageDate::of(created.context("the registration has no time")?).next())
    }

    /// Sets how long data is kept.
    pub async fn set_retention(
        &self,
        workspace_id: &str,
        data_type: DataType,
        dimension: &str,
        days: i32,
    ) -> anyhow::Result<()> {
        let request = WorkspaceServiceSetRetentionRequest {
            request_id: self.request_id(&format!("retention {} {dimension}", data_type.as_str_name())),
            workspace_id: workspace_id.to_owned(),
            data_type: data_type.into(),
            dimension: dimension.to_owned(),
            days,
        };
        self.clients.workspaces.clone().set_retention(request).await.context("setting the retention")?;
        Ok(())
    }

    /// Grants a plain voucher that is valid for a year from a day.
    pub async fn grant_voucher(&self, payer: &str, face_value: Money, day: UsageDate) -> anyhow::Result<()> {
        let request = WalletServiceGrantVoucherRequest {
            request_id: self.request_id("voucher"),
            billing_account_id: payer.to_owned(),
            face_value: Some(face_value),
            last_date: Some(wire::date(day.plus_days(365))),
            grant_reason: "welcome".to_owned(),
        };
        self.clients.wallets.clone().grant_voucher(request).await.context("granting a voucher")?;
        Ok(())
    }

    /// Tops the wallet up.
    pub async fn top_up(&self, payer: &str, amount: Money) -> anyhow::Result<()> {
        let request = WalletServiceTopUpRequest {
            request_id: self.request_id("top up"),
            billing_account_id: payer.to_owned(),
            amount: Some(amount),
            provider: "bank".to_owned(),
            reference: self.request_id("payment"),
        };
        self.clients.wallets.clone().top_up(request).await.context("topping up")?;
        Ok(())
    }

    /// A record whose id follows from its place, so that sending it again counts it once.
    pub fn record(
        &self,
        workspace_id: &str,
        place: &str,
        time: OffsetDateTime,
        usage: (&str, &str, &str),
    ) -> UsageRecord {
        let (meter, dimension, quantity) = usage;
        UsageRecord {
            workspace_id: workspace_id.to_owned(),
            event_id: self.request_id(&format!("record {place}")),
            event_time: Some(wire::timestamp(time)),
            meter: meter.to_owned(),
            dimension: dimension.to_owned(),
            quantity: quantity.to_owned(),
            count_from_time: None,
        }
    }

    /// Sends records.
    pub async fn ingest(&self, records: Vec<UsageRecord>) -> anyhow::Result<Sent> {
        if records.is_empty() {
            return Ok(Sent::default());
        }
        let request = UsageServiceIngestBatchRequest { records };
        let answer =
            self.clients.usage.clone().ingest_batch(request).await.context("sending records")?.into_inner();
        refused(&answer.refusals)?;
        Ok(Sent { accepted_count: answer.accepted_count, known_count: answer.duplicate_count })
    }

    /// Sends hourly points.
    pub async fn report_points(&self, points: Vec<UsagePoint>) -> anyhow::Result<Sent> {
        if points.is_empty() {
            return Ok(Sent::default());
        }
        let request = UsageServiceReportPointsRequest { points };
        let answer =
            self.clients.usage.clone().report_points(request).await.context("sending points")?.into_inner();
        refused(&answer.refusals)?;
        Ok(Sent { accepted_count: answer.accepted_count, known_count: answer.superseded_count })
    }

    /// Seals a day.
    pub async fn seal(&self, day: UsageDate) -> anyhow::Result<Manifest> {
        let request = UsageServiceSealDayRequest { usage_date: Some(wire::date(day)) };
        let answer = self.clients.usage.clone().seal_day(request).await.context("sealing the day")?;
        answer.into_inner().manifest.context("the answer has no manifest")
    }

    /// Runs the bills of a day, and waits for the end of the run.
    pub async fn run_bills(&self, day: UsageDate) -> anyhow::Result<BillRun> {
        let request = BillRunServiceCreateRequest {
            request_id: self.request_id(&format!("run {day}")),
            usage_date: Some(wire::date(day)),
        };
        let run = self.clients.bill_runs.clone().create(request).await.context("starting the bill run")?;
        let run_id = run.into_inner().bill_run.unwrap_or_default().run_id;
        let wait = async {
            loop {
                let request = BillRunServiceGetRequest { run_id: run_id.clone() };
                let run = self
                    .clients
                    .bill_runs
                    .clone()
                    .get(request)
                    .await?
                    .into_inner()
                    .bill_run
                    .unwrap_or_default();
                if matches!(run.state(), State::Succeeded | State::Cancelled) {
                    return anyhow::Ok(run);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("the bill run does not end")?
    }

    /// The day's bill of a workspace, once it is settled.
    pub async fn settled_bill(&self, workspace_id: &str, day: UsageDate) -> anyhow::Result<Bill> {
        let wait = async {
            loop {
                let bill = self.bill(workspace_id, day).await?;
                if let Some(bill) = bill.filter(|bill| bill.settlement.is_some()) {
                    return anyhow::Ok(bill);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("the bill is not settled")?
    }

    /// The day's bill of a workspace, if it has one; more than one is an error.
    pub async fn bill(&self, workspace_id: &str, day: UsageDate) -> anyhow::Result<Option<Bill>> {
        let request = BillServiceListRequest {
            workspace_id: workspace_id.to_owned(),
            usage_date: Some(wire::date(day)),
            ..Default::default()
        };
        let bills = self.clients.bills.clone().list(request).await?.into_inner().bills;
        anyhow::ensure!(bills.len() <= 1, "{workspace_id} has {} bills of {day}", bills.len());
        let Some(bill) = bills.into_iter().next() else { return Ok(None) };
        let request = BillServiceGetRequest { bill_id: bill.bill_id };
        Ok(self.clients.bills.clone().get(request).await?.into_inner().bill)
    }

    /// Why workspaces of a run have no bill.
    pub async fn failures(&self, run_id: &str) -> anyhow::Result<Vec<String>> {
        let request = BillRunServiceListFailuresRequest { run_id: run_id.to_owned(), ..Default::default() };
        let failures = self.clients.bill_runs.clone().list_failures(request).await?.into_inner().failures;
        Ok(failures.into_iter().map(|f| format!("{}: {} {}", f.workspace_id, f.reason, f.message)).collect())
    }

    /// From which source each line was paid.
    pub async fn settlement(&self, payer: &str, bill_id: &str) -> anyhow::Result<Settlement> {
        let request =
            SettlementServiceGetRequest { billing_account_id: payer.to_owned(), bill_id: bill_id.to_owned() };
        let answer = self.clients.settlements.clone().get(request).await.context("reading the settlement")?;
        answer.into_inner().settlement.context("the answer has no settlement")
    }

    /// What the payer has and owes.
    pub async fn balance(&self, payer: &str) -> anyhow::Result<Balance> {
        let request = WalletServiceGetBalanceRequest { billing_account_id: payer.to_owned() };
        let answer =
            self.clients.wallets.clone().get_balance(request).await.context("reading the balance")?;
        answer.into_inner().balance.context("the answer has no balance")
    }
}

/// Any refusal is an error here: these journeys send nothing that should be refused, but for what is past the horizon by now and
/// was counted when it was not.
fn refused(refusals: &[UsageRefusal]) -> anyhow::Result<()> {
    let worst = refusals.iter().find(|refusal| refusal.reason() != ErrorReason::TooOld);
    match worst {
        None => Ok(()),
        Some(refusal) => {
            anyhow::bail!(
                "record {} was refused: {} {}",
                refusal.index,
                refusal.reason().as_str_name(),
                refusal.message
            )
        }
    }
}
