//! Domain to wire, and rejections to refusals.

use chassis::money::print_decimal;
use chassis::status::Refusal;
use chassis::wire::{date, hex, money, timestamp};
use tallystick_proto::billing::v1 as wire;
use tallystick_proto::common::v1::{ErrorReason, SiteClass};
use tonic::Code;

use crate::app::publish_price_book::PublishRejection;
use crate::app::quote_usage::{QuoteRejection, Quoted};
use crate::app::read_bills::ListedFailure;
use crate::app::record_settlement::RecordRejection;
use crate::app::start_bill_run::RunRejection;
use crate::domain::bill::{Bill, BillSettlement, Kind};
use crate::domain::bill_run::{BillRun, State};
use crate::domain::price_book::{PriceBook, PriceEntry};
use crate::domain::rating::{BillLine, Quantity};

pub fn line(line: &BillLine) -> wire::BillLine {
    wire::BillLine {
        item: line.item.clone(),
        dimension: line.dimension.clone(),
        retention_days: line.retention_days,
        quantity: print_decimal(line.quantity),
        unit_size: print_decimal(line.unit_size),
        units: format!("{:.2}", line.units),
        unit_price: print_decimal(line.unit_price),
        discount: print_decimal(line.discount),
        list_amount: print_decimal(line.list_amount),
        amount: Some(money(line.amount)),
        restricted: line.is_restricted,
    }
}

fn settlement(settlement: &BillSettlement) -> wire::BillSettlement {
    wire::BillSettlement {
        settlement_id: settlement.settlement_id.map(|id| id.to_string()).unwrap_or_default(),
        voucher_amount: Some(money(settlement.voucher)),
        card_amount: Some(money(settlement.card)),
        cash_amount: Some(money(settlement.cash)),
        cloud_amount: Some(money(settlement.cloud)),
        owed_amount: Some(money(settlement.owed)),
        settle_time: Some(timestamp(settlement.settled_at)),
    }
}

pub fn bill((bill, paid): &(Bill, Option<BillSettlement>)) -> wire::Bill {
    let kind = match bill.kind {
        Kind::Daily => wire::bill::Kind::Daily,
        Kind::CloseOut => wire::bill::Kind::CloseOut,
        Kind::Adjustment => wire::bill::Kind::Adjustment,
        Kind::Credit => wire::bill::Kind::Credit,
    };
    wire::Bill {
        bill_id: bill.bill_id.to_string(),
        workspace_id: bill.workspace_id.to_string(),
        usage_date: Some(date(bill.usage_date)),
        kind: kind.into(),
        seq: bill.seq,
        billing_account_id: bill.billing_account_id.to_string(),
        site_class: bill.site_class.to_wire(),
        price_version: bill.price_version,
        rule_set_version: bill.rule_set_version,
        lines: bill.lines.iter().map(line).collect(),
        total: Some(money(bill.total)),
        sealed_digest: hex(&bill.sealed_digest),
        previous_digest: hex(&bill.previous_digest),
        digest: hex(&bill.digest),
        issue_time: Some(timestamp(bill.issued_at)),
        settlement: paid.as_ref().map(settlement),
    }
}

pub fn run(run: &BillRun) -> wire::BillRun {
    let state = match run.state {
        State::Pending => wire::bill_run::State::Pending,
        State::Running => wire::bill_run::State::Running,
        State::Succeeded => wire::bill_run::State::Succeeded,
        State::Cancelled => wire::bill_run::State::Cancelled,
    };
    wire::BillRun {
        run_id: run.run_id.to_string(),
        usage_date: Some(date(run.usage_date)),
        state: state.into(),
        workspace_count: run.workspace_count,
        billed_count: run.billed_count,
        failed_count: run.failed_count,
        create_time: Some(timestamp(run.created_at)),
        finish_time: run.finished_at.map(timestamp),
    }
}

pub fn started(value: &BillRun) -> wire::BillRunServiceCreateResponse {
    wire::BillRunServiceCreateResponse { bill_run: Some(run(value)) }
}

pub fn failure(failure: ListedFailure) -> wire::BillRunFailure {
    let workspace_id = failure.workspace_id.to_string();
    wire::BillRunFailure { workspace_id, reason: failure.reason, message: failure.message }
}

pub fn price_book(book: &PriceBook) -> wire::PriceBook {
    wire::PriceBook {
        currency_code: book.key.currency.code().to_owned(),
        site_class: book.key.site_class.to_wire(),
        version: book.version,
        entry_count: book.entry_count,
        publish_time: Some(timestamp(book.published_at)),
    }
}

pub fn published(book: &PriceBook) -> wire::PriceBookServicePublishResponse {
    wire::PriceBookServicePublishResponse { price_book: Some(price_book(book)) }
}

pub fn price_entry(entry: &PriceEntry) -> wire::PriceEntry {
    wire::PriceEntry {
        item: entry.item.clone(),
        retention_days: entry.retention_days,
        unit_size: print_decimal(entry.unit_size),
        unit_of: entry.unit_of.clone(),
        unit_price: print_decimal(entry.unit_price),
        start_date: Some(date(entry.effective_from)),
        end_date: entry.effective_until.map(date),
    }
}

fn unsold(quantity: &Quantity) -> wire::QuoteQuantity {
    wire::QuoteQuantity {
        item: quantity.item.clone(),
        dimension: quantity.dimension.clone(),
        retention_days: quantity.retention_days,
        quantity: print_decimal(quantity.quantity),
    }
}

pub fn quoted(quoted: &Quoted) -> wire::PriceBookServiceQuoteResponse {
    wire::PriceBookServiceQuoteResponse {
        lines: quoted.lines.iter().map(line).collect(),
        total: Some(money(quoted.total)),
        unsold: quoted.unsold.iter().map(unsold).collect(),
    }
}

impl From<PublishRejection> for Refusal {
    fn from(rejection: PublishRejection) -> Self {
        match rejection {
            PublishRejection::Entries(problems) => {
                let message = format!("{} entries cannot be published", problems.len());
                let refusal = Self::new(Code::InvalidArgument, ErrorReason::PriceBookInvalid, message);
                problems.into_iter().fold(refusal, |refusal, problem| {
                    refusal.blaming(format!("entries[{}]", problem.index), problem.problem)
                })
            }
        }
    }
}

impl From<QuoteRejection> for Refusal {
    fn from(rejection: QuoteRejection) -> Self {
        match rejection {
            QuoteRejection::NoBook(key) => {
                let class = SiteClass::try_from(key.site_class.to_wire()).unwrap_or_default().as_str_name();
                let message = format!("no price in {} for {class} on that day", key.currency);
                Self::new(Code::FailedPrecondition, ErrorReason::BookNotLoaded, message)
                    .with("currency", key.currency)
                    .with("siteClass", class)
            }
            QuoteRejection::OutOfBounds(index) => {
                let problem = "passes what is kept exactly: units below 10^13, amounts below 10^12";
                let field = format!("quantities[{index}]");
                Self::new(Code::InvalidArgument, ErrorReason::FieldInvalid, format!("{field} {problem}"))
                    .blaming(field, problem)
            }
        }
    }
}

impl From<RunRejection> for Refusal {
    fn from(rejection: RunRejection) -> Self {
        match rejection {
            RunRejection::NotSealed(day) => {
                let message = format!("the billing day {day} has no manifest; seal it first");
                Self::new(Code::FailedPrecondition, ErrorReason::DayNotSealed, message).with("usageDate", day)
            }
            RunRejection::NotFound(id) => Self::not_found("bill run", id),
            RunRejection::Finished(state) => {
                let state = format!("STATE_{}", state.word());
                Self::new(
                    Code::FailedPrecondition,
                    ErrorReason::RunFinished,
                    format!("the run has ended: {state}"),
                )
                .with("state", state)
            }
        }
    }
}

impl From<RecordRejection> for Refusal {
    fn from(rejection: RecordRejection) -> Self {
        match rejection {
            RecordRejection::NotFound(id) => Self::not_found("bill", id),
            RecordRejection::Mismatch(id) => {
                let message =
                    format!("the settlement is not that of {id}: other parts, or another settlement");
                Self::new(Code::FailedPrecondition, ErrorReason::BillMismatch, message).with("billId", id)
            }
        }
    }
}
