//! What a person sees in a terminal.

#![allow(clippy::print_stdout)]

use std::io::Write as _;

use tallystick_proto::billing::v1::{Bill, BillLine};
use tallystick_proto::common::v1::Money;
use tallystick_proto::google::r#type::Date;

/// A heading.
pub fn heading(text: &str) {
    println!("\n{text}");
}

/// A step that was done.
pub fn step(text: &str) {
    println!("  {text}");
    // A terminal that is gone is no reason to stop.
    let _ = std::io::stdout().flush();
}

/// A line as it is.
pub fn line(text: &str) {
    println!("{text}");
}

/// An amount with its currency.
pub fn money(value: Option<&Money>) -> String {
    value.map_or_else(|| "-".to_owned(), |money| format!("{} {}", money.amount, money.currency_code))
}

/// A date as people write it.
pub fn date(value: Option<&Date>) -> String {
    value.map_or_else(|| "-".to_owned(), |date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day))
}

/// Lines of a bill or of a quote.
pub fn lines(lines: &[BillLine]) {
    println!(
        "  {:<18}{:<12}{:>5}{:>18}{:>12}{:>11}{:>12}",
        "item", "dimension", "days", "quantity", "units", "price", "amount"
    );
    for line in lines {
        let days = if line.retention_days == 0 { "-".to_owned() } else { line.retention_days.to_string() };
        let dimension = if line.dimension.is_empty() { "-" } else { &line.dimension };
        let amount = line.amount.as_ref().map(|money| money.amount.as_str()).unwrap_or_default();
        println!(
            "  {:<18}{:<12}{:>5}{:>18}{:>12}{:>11}{:>12}",
            line.item, dimension, days, line.quantity, line.units, line.unit_price, amount
        );
    }
}

/// A bill with its lines, total, and how it was paid.
pub fn bill(bill: &Bill) {
    heading(&format!("Bill {} of {}", bill.bill_id, date(bill.usage_date.as_ref())));
    lines(&bill.lines);
    println!("  {:<18}{:>70}", "total", money(bill.total.as_ref()));
    let Some(paid) = &bill.settlement else { return };
    heading("Paid from");
    let parts = [
        ("vouchers", &paid.voucher_amount),
        ("prepaid cards", &paid.card_amount),
        ("cash", &paid.cash_amount),
        ("cloud account", &paid.cloud_amount),
        ("owed", &paid.owed_amount),
    ];
    for (name, amount) in parts {
        println!("  {name:<18}{:>70}", money(amount.as_ref()));
    }
}
