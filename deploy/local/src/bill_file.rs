//! A usage file of the user's, through the whole journey; or, for a day past the horizon, priced by `Quote` and nothing stored.
//!
//! The file is CSV with the header `meter,dimension,retention_days,quantity`. `meter` is one that `UsageService/ListMeters` knows;
//! `dimension` a log index or forwarding rule, or empty; `retention_days` the policy that the data is under, or empty for an item
//! with one price; `quantity` a whole number in the meter's own unit. All rows are checked before anything is done.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::id::derived;
use chassis::money::{parse_decimal, print_decimal};
use chassis::site::Site;
use chassis::wire;
use rust_decimal::Decimal;
use tallystick_proto::billing::v1::{
    PriceBookServiceQuoteRequest, PriceBookServiceQuoteResponse, QuoteQuantity,
};
use tallystick_proto::common::v1::Money;
use tallystick_proto::workspace::v1::meter::Reduction;
use tallystick_proto::workspace::v1::{DataType, Meter, UsagePoint, UsageServiceListMetersRequest};
use time::Duration;
use uuid::Uuid;

use crate::clients::Clients;
use crate::journey::{Customer, Journey};
use crate::{demonstration, prices, screen};

/// Rows of one file.
const ROWS_MAX: usize = 2_000;

/// One row that was checked.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its line in the file.
    pub line: u64,
    /// What was measured.
    pub meter: Meter,
    /// The index or rule.
    pub dimension: String,
    /// The policy; 0 for an item with one price.
    pub retention_days: i32,
    /// How much.
    pub quantity: Decimal,
}

/// Every row, or everything that is wrong, by line.
pub fn parse(text: &str, meters: &[Meter]) -> Result<Vec<Row>, Vec<String>> {
    let mut problems = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wanted = ["meter", "dimension", "retention_days", "quantity"];
    match reader.headers() {
        Ok(header) if header.iter().eq(wanted) => {}
        _ => return Err(vec![format!("line 1: the header must be {}", wanted.join(","))]),
    }
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(format!("line {line}: {error}"));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        match row(line, &record, meters) {
            Ok(row) => match rows.iter().find(|other| clash(other, &row)) {
                Some(other) => problems
                    .push(format!("line {line}: repeats line {}, or contradicts its retention", other.line)),
                None => rows.push(row),
            },
            Err(problem) => problems.push(format!("line {line}: {problem}")),
        }
    }
    if rows.is_empty() && problems.is_empty() {
        problems.push("the file has no rows".to_owned());
    }
    if rows.len() > ROWS_MAX {
        problems.push(format!("the file has more than {ROWS_MAX} rows"));
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

/// The same meter and dimension twice; or a summed item whose data type has two policies on one day.
fn clash(one: &Row, other: &Row) -> bool {
    let same_data = !one.meter.item.is_empty()
        && one.meter.data_type == other.meter.data_type
        && one.dimension == other.dimension;
    let tiered = one.meter.data_type != DataType::Unspecified.as_str_name();
    let same = one.meter.meter == other.meter.meter && one.dimension == other.dimension;
    let summed = one.meter.reduction() == Reduction::Sum && other.meter.reduction() == Reduction::Sum;
    same && one.retention_days == other.retention_days
        || same_data && tiered && summed && one.retention_days != other.retention_days
}

fn row(line: u64, record: &csv::StringRecord, meters: &[Meter]) -> Result<Row, String> {
    let fields: Vec<&str> = record.iter().collect();
    let [meter, dimension, retention, quantity] = fields.as_slice() else {
        return Err("has not 4 columns".to_owned());
    };
    let known = meters.iter().find(|known| known.meter == *meter);
    let meter = known.ok_or_else(|| format!("there is no meter \"{meter}\""))?.clone();
    if !wire::is_word(dimension, 0, 64) {
        return Err("dimension must be at most 64 of lower-case letters, digits, \"_\", \"-\"".to_owned());
    }
    let tiered = meter.data_type != DataType::Unspecified.as_str_name();
    let retention_days = match (*retention, tiered) {
        ("", false) => 0,
        ("", true) => return Err(format!("{} needs retention_days", meter.meter)),
        (_, false) => return Err(format!("{} has one price; retention_days must be empty", meter.meter)),
        (text, true) => text
            .parse::<i32>()
            .ok()
            .filter(|days| *days > 0)
            .ok_or("retention_days must be a number of days")?,
    };
    let whole = quantity.len() <= 18 && quantity.bytes().all(|byte| byte.is_ascii_digit());
    let quantity = if whole { parse_decimal(quantity).ok() } else { None };
    let quantity = quantity.ok_or("quantity must be a whole number below 10^18")?;
    Ok(Row { line, meter, dimension: (*dimension).to_owned(), retention_days, quantity })
}

/// Whose file it is, and of which day.
#[derive(Debug, Clone)]
pub struct Job {
    /// The file's text.
    pub text: String,
    /// The billing day.
    pub day: UsageDate,
    /// Where the customer is.
    pub site: Site,
    /// In what; empty for the site's own.
    pub currency_code: String,
    /// What the wallet is topped up with.
    pub top_up: String,
    /// The voucher to grant; empty for none.
    pub voucher: String,
}

impl Job {
    /// The same file for the same day is the same job.
    pub fn namespace(&self) -> Uuid {
        let name = format!(
            "{} {} {} {} {}\n{}",
            self.day,
            self.site.word(),
            self.currency_code,
            self.top_up,
            self.voucher,
            self.text
        );
        derived(Uuid::NAMESPACE_OID, &name)
    }

    fn currency(&self) -> String {
        if self.currency_code.is_empty() {
            self.site.default_currency().to_string()
        } else {
            self.currency_code.clone()
        }
    }

    fn money(&self, amount: &str) -> Money {
        Money { currency_code: self.currency(), amount: amount.to_owned() }
    }
}

/// Reads the file against the meters that the service knows.
pub async fn read(clients: &Clients, job: &Job) -> anyhow::Result<Vec<Row>> {
    let request = UsageServiceListMetersRequest { page_size: 1_000, page_token: String::new() };
    let meters = clients.usage.clone().list_meters(request).await?.into_inner().meters;
    parse(&job.text, &meters).map_err(|problems| {
        anyhow::anyhow!("the file cannot be used; nothing was done:\n  {}", problems.join("\n  "))
    })
}

/// What the file would cost on its day: the day's quantity of an item is the largest, over its meters, of value / divisor.
pub async fn quote(
    clients: &Clients,
    job: &Job,
    rows: &[Row],
) -> anyhow::Result<PriceBookServiceQuoteResponse> {
    let mut quantities: BTreeMap<(String, String, i32), Decimal> = BTreeMap::new();
    for row in rows {
        let quantity = row.quantity / Decimal::from(row.meter.divisor.max(1));
        let key = (row.meter.item.clone(), row.dimension.clone(), row.retention_days);
        let largest = quantities.entry(key).or_default();
        *largest = (*largest).max(quantity);
    }
    let quantity = |((item, dimension, retention_days), quantity): ((String, String, i32), Decimal)| {
        QuoteQuantity { item, dimension, retention_days, quantity: print_decimal(quantity) }
    };
    let request = PriceBookServiceQuoteRequest {
        currency_code: job.currency(),
        site_class: job.site.class().to_wire(),
        usage_date: Some(wire::date(job.day)),
        quantities: quantities.into_iter().map(quantity).collect(),
    };
    Ok(clients.price_books.clone().quote(request).await.context("pricing the file")?.into_inner())
}

/// Shows a quote.
pub fn show_quote(job: &Job, quote: &PriceBookServiceQuoteResponse) {
    screen::heading(&format!("Priced at the prices of {}; nothing was stored", job.day));
    screen::lines(&quote.lines);
    screen::line(&format!("  {:<18}{:>70}", "total", screen::money(quote.total.as_ref())));
    for unsold in &quote.unsold {
        screen::step(&format!("not sold on {}: {} (quantity {})", job.day, unsold.item, unsold.quantity));
    }
}

/// Takes the file through the whole journey. The quote of the same day comes first: what is not sold stops it before it begins.
pub async fn bill(clients: &Clients, job: &Job) -> anyhow::Result<String> {
    prices::load(clients).await?;
    let rows = read(clients, job).await?;
    let quote = quote(clients, job, &rows).await?;
    if !quote.unsold.is_empty() {
        let names: Vec<_> = quote
            .unsold
            .iter()
            .map(|unsold| format!("{} at {} days", unsold.item, unsold.retention_days))
            .collect();
        anyhow::bail!("not sold on {}; nothing was done: {}", job.day, names.join(", "));
    }
    let namespace = job.namespace();
    let short = namespace.simple().to_string().split_off(20);
    let customer = Customer {
        namespace,
        site: job.site.to_wire(),
        currency_code: job.currency(),
        email: format!("{short}@example.com"),
        username: format!("file-{short}"),
        workspace_name: format!("Usage file of {}", job.day),
        password: String::new(),
    };
    let journey = Journey { clients: clients.clone(), customer };
    let registration = journey.register().await?;
    let workspace = registration.workspace_id.clone();
    screen::step(&format!("registered workspace {workspace}, paid by {}", registration.billing_account_id));
    set_policies(&journey, &workspace, &rows).await?;
    if !job.voucher.is_empty() {
        journey.grant_voucher(&registration.billing_account_id, job.money(&job.voucher), job.day).await?;
    }
    journey.top_up(&registration.billing_account_id, job.money(&job.top_up)).await?;
    clients.advance_to(job.day.start() + Duration::minutes(23 * 60 + 30)).await?;
    let sent = send(&journey, &workspace, job.day, &rows).await?;
    screen::step(&sent);
    clients.advance_to(job.day.end() + Duration::minutes(65)).await?;
    journey.seal(job.day).await?;
    let run = journey.run_bills(job.day).await?;
    let failures = journey.failures(&run.run_id).await?;
    anyhow::ensure!(failures.is_empty(), "the day could not be billed: {}", failures.join(", "));
    demonstration::show(&journey, &registration, job.day).await
}

async fn set_policies(journey: &Journey, workspace: &str, rows: &[Row]) -> anyhow::Result<()> {
    for row in rows.iter().filter(|row| row.retention_days != 0 && row.meter.reduction() == Reduction::Sum) {
        let data_type = DataType::from_str_name(&row.meter.data_type).unwrap_or_default();
        let index = if data_type == DataType::Logs { row.dimension.as_str() } else { "" };
        journey
            .set_retention(workspace, data_type, index, row.retention_days)
            .await
            .with_context(|| format!("line {}", row.line))?;
    }
    Ok(())
}

/// Summed meters as records, maximum meters as points under the row's own policy; both at noon.
async fn send(journey: &Journey, workspace: &str, day: UsageDate, rows: &[Row]) -> anyhow::Result<String> {
    let noon = day.start() + Duration::hours(12);
    let mut records = Vec::new();
    let mut points = Vec::new();
    for row in rows {
        let quantity = print_decimal(row.quantity);
        if row.meter.reduction() == Reduction::Sum {
            let place = format!("line {}", row.line);
            records.push(journey.record(
                workspace,
                &place,
                noon,
                (&row.meter.meter, &row.dimension, &quantity),
            ));
        } else {
            points.push(UsagePoint {
                workspace_id: workspace.to_owned(),
                meter: row.meter.meter.clone(),
                dimension: row.dimension.clone(),
                retention_days: row.retention_days,
                hour_time: Some(wire::timestamp(noon)),
                quantity,
                revision: 0,
                count_from_time: None,
            });
        }
    }
    let reported = journey.report_points(points).await?;
    let ingested = journey.ingest(records).await?;
    let accepted = reported.accepted_count + ingested.accepted_count;
    let known = reported.known_count + ingested.known_count;
    Ok(format!("usage: {accepted} rows accepted, {known} known already and not counted twice"))
}
