//! The demonstration: ten hosts of a customer on the Hangzhou site, one day of usage, 13.40 CNY, paid from a voucher and cash.

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::fault;
use chassis::wire;
use tallystick_proto::account::v1::Registration;
use tallystick_proto::common::v1::{Money, Site};
use tallystick_proto::workspace::v1::{DataType, UsagePoint};
use time::Duration;
use uuid::Uuid;

use crate::clients::Clients;
use crate::journey::{Customer, Journey, Sent};
use crate::{prices, screen};

/// What it ended with, for the lines to copy and for tests.
#[derive(Debug, Clone)]
pub struct Played {
    /// The customer's ids.
    pub registration: Registration,
    /// The day.
    pub day: UsageDate,
    /// The bill.
    pub bill_id: String,
}

/// Whose requests these are.
const NAMESPACE: Uuid = Uuid::from_u128(0x7a11_7571_0000_5000_8000_0000_0000_0001);

/// What the demonstration's two accounts sign in with: they exist on a database with a clock of its own, on the loopback address.
pub const PASSWORD: &str = "ten hosts, one day";
/// The billing account's user name.
pub const USERNAME: &str = "example-ltd";

fn cny(amount: &str) -> Money {
    Money { currency_code: "CNY".to_owned(), amount: amount.to_owned() }
}

/// Plays it, or shows that it was played.
pub async fn play(clients: &Clients) -> anyhow::Result<Played> {
    let customer = Customer {
        namespace: NAMESPACE,
        site: Site::Cn1Hangzhou.into(),
        currency_code: "CNY".to_owned(),
        email: "ann@example.com".to_owned(),
        username: USERNAME.to_owned(),
        workspace_name: "Ten hosts".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let journey = Journey { clients: clients.clone(), customer };
    let count = prices::load(clients).await?;
    screen::heading("Demonstration: ten hosts, one day of usage");
    screen::step(&format!("{count} prices are loaded"));
    fault::point("demo.prices_loaded");

    let registration = journey.register().await?;
    let day = Journey::first_day(&registration)?;
    let workspace = registration.workspace_id.clone();
    let payer = registration.billing_account_id.clone();
    screen::step(&format!("registered ann@example.com on the Hangzhou site, the day before {day}:"));
    screen::step(&format!("  console account  {}", registration.console_account_id));
    screen::step(&format!("  billing account  {payer} (example-ltd)"));
    screen::step(&format!("  workspace        {workspace}, bound to the billing account"));
    fault::point("demo.registered");

    prepare(&journey, &workspace, &payer, day).await?;
    clients.advance_to(day.start() + Duration::minutes(23 * 60 + 30)).await?;
    let sent = use_services(&journey, &workspace, day).await?;
    screen::step(&match sent {
        Sent { accepted_count: 0, known_count } => {
            format!(
                "usage of {day}: {known_count} records and points were known already, none was counted twice"
            )
        }
        Sent { accepted_count, known_count } => {
            format!(
                "usage of {day}: {accepted_count} records and points accepted, {known_count} known already"
            )
        }
    });
    fault::point("demo.usage_sent");

    clients.advance_to(day.end() + Duration::minutes(65)).await?;
    let manifest = journey.seal(day).await?;
    screen::step(&format!("{day} sealed, at 01:05 of the next day: {} workspace", manifest.workspace_count));
    fault::point("demo.sealed");
    let run = journey.run_bills(day).await?;
    screen::step(&format!(
        "bill run {}: {} billed, {} failed",
        run.run_id, run.billed_count, run.failed_count
    ));
    fault::point("demo.billed");
    let bill_id = show(&journey, &registration, day).await?;
    Ok(Played { registration, day, bill_id })
}

/// Retention and wallet.
async fn prepare(journey: &Journey, workspace: &str, payer: &str, day: UsageDate) -> anyhow::Result<()> {
    let policies = [(DataType::Metrics, 3), (DataType::Logs, 7), (DataType::ApmTrace, 3), (DataType::Rum, 3)];
    for (data_type, days) in policies {
        journey.set_retention(workspace, data_type, "", days).await?;
    }
    screen::step("retention: metrics 3 days, logs 7, traces 3, page views 3");
    journey.grant_voucher(payer, cny("10.00"), day).await?;
    fault::point("demo.voucher_granted");
    journey.top_up(payer, cny("100.00")).await?;
    screen::step("wallet: a voucher of 10.00 CNY, 100.00 CNY in cash");
    fault::point("demo.topped_up");
    Ok(())
}

/// Series as hourly points that count from 00:00, everything else as records.
async fn use_services(journey: &Journey, workspace: &str, day: UsageDate) -> anyhow::Result<Sent> {
    let at = |hour: i64| day.start() + Duration::hours(hour);
    let series = [(0, "2000"), (8, "4500"), (16, "6000"), (22, "6000")];
    let points = series.into_iter().map(|(hour, quantity)| UsagePoint {
        workspace_id: workspace.to_owned(),
        meter: "timeseries".to_owned(),
        dimension: String::new(),
        retention_days: 0,
        hour_time: Some(wire::timestamp(at(hour))),
        quantity: quantity.to_owned(),
        revision: 0,
        count_from_time: None,
    });
    let reported = journey.report_points(points.collect()).await?;
    let mut records = Vec::new();
    let used = [("log", "500000"), ("trace", "500000"), ("pv", "5000"), ("trigger", "5000")];
    for hour in [3, 9, 15, 21] {
        for (meter, quantity) in used {
            let place = format!("{meter} {hour}");
            records.push(journey.record(workspace, &place, at(hour), (meter, "", quantity)));
        }
    }
    let ingested = journey.ingest(records).await?;
    Ok(Sent {
        accepted_count: reported.accepted_count + ingested.accepted_count,
        known_count: reported.known_count + ingested.known_count,
    })
}

/// Shows the bill, from which source each part was paid, and the balance after.
pub async fn show(journey: &Journey, registration: &Registration, day: UsageDate) -> anyhow::Result<String> {
    let bill = journey.settled_bill(&registration.workspace_id, day).await?;
    screen::bill(&bill);
    let settlement = journey.settlement(&registration.billing_account_id, &bill.bill_id).await?;
    screen::heading("Line by line");
    for part in &settlement.allocations {
        let line = bill.lines.iter().zip(1..).find(|(_, number)| *number == part.line_number);
        let (line, _) = line.with_context(|| format!("the bill has no line {}", part.line_number))?;
        let item = &line.item;
        let source =
            part.source().as_str_name().trim_start_matches("SOURCE_").to_lowercase().replace('_', " ");
        screen::step(&format!("{item:<18}{source:<16}{:>54}", screen::money(part.amount.as_ref())));
    }
    let balance = journey.balance(&registration.billing_account_id).await?;
    screen::heading("Balance after");
    screen::step(&format!("{:<18}{:>70}", "cash", screen::money(balance.cash.as_ref())));
    screen::step(&format!("{:<18}{:>70}", "vouchers", screen::money(balance.vouchers.as_ref())));
    screen::step(&format!("{:<18}{:>70}", "owed", screen::money(balance.arrears.as_ref())));
    Ok(bill.bill_id)
}
