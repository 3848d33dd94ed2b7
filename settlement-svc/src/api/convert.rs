//! Domain to wire, and rejections to refusals.

use chassis::id::{BillId, BillingAccountId, SubscriptionId, VoucherId};
use chassis::money::MONEY_LIMIT;
use chassis::status::Refusal;
use chassis::wire::{date, money, timestamp};
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::settlement::v1 as wire;
use tonic::Code;

use crate::app::read_wallet::{Balance, Entry, HeldVoucher};
use crate::app::settle_bill::SettleRejection;
use crate::app::top_up::{ToppedUp, WalletRejection};
use crate::domain::deduction::{Allocation, SourceKind};
use crate::domain::settlement::Settlement;
use crate::domain::voucher::Kind;

pub fn balance(balance: &Balance) -> wire::Balance {
    wire::Balance {
        billing_account_id: balance.billing_account_id.to_string(),
        cash: Some(money(balance.cash)),
        vouchers: Some(money(balance.vouchers)),
        cards: Some(money(balance.cards)),
        arrears: Some(money(balance.arrears)),
    }
}

pub fn topped_up(value: &ToppedUp) -> wire::WalletServiceTopUpResponse {
    wire::WalletServiceTopUpResponse {
        balance: Some(balance(&value.balance)),
        repaid_amount: Some(money(value.repaid)),
    }
}

pub fn voucher(held: &HeldVoucher) -> wire::Voucher {
    let kind = match held.voucher.kind {
        Kind::Plain => wire::voucher::Kind::Plain,
        Kind::FullReduction => wire::voucher::Kind::FullReduction,
    };
    wire::Voucher {
        voucher_id: held.voucher.voucher_id.to_string(),
        billing_account_id: held.voucher.billing_account_id.to_string(),
        kind: kind.into(),
        face_value: Some(money(held.voucher.face_value)),
        balance: Some(money(held.balance)),
        activate_time: Some(timestamp(held.voucher.activated_at)),
        last_date: Some(date(held.voucher.last_date)),
    }
}

pub fn granted(held: &HeldVoucher) -> wire::WalletServiceGrantVoucherResponse {
    wire::WalletServiceGrantVoucherResponse { voucher: Some(voucher(held)) }
}

/// A movement; what it is for is named by its code.
pub fn entry(entry: &Entry) -> wire::Entry {
    let reason_id = match entry.code.as_str() {
        "VOUCHER_GRANT" => VoucherId::from_uuid(entry.reason_id).to_string(),
        "BILL" | "BILL_OWED" | "ARREARS_REPAID" => BillId::from_uuid(entry.reason_id).to_string(),
        _ => entry.reason_id.to_string(),
    };
    wire::Entry {
        transfer_id: entry.transfer_id.to_string(),
        code: entry.code.clone(),
        debit_account: entry.debit_kind.clone(),
        credit_account: entry.credit_kind.clone(),
        amount: Some(money(entry.amount)),
        reason_id,
        post_time: Some(timestamp(entry.posted_at)),
    }
}

fn allocation(part: &Allocation) -> wire::Allocation {
    let (source, source_id) = match part.kind {
        SourceKind::PlainVoucher => (wire::allocation::Source::PlainVoucher, part.source_id),
        SourceKind::FullReductionVoucher => (wire::allocation::Source::FullReductionVoucher, part.source_id),
        SourceKind::PrepaidCard => (wire::allocation::Source::PrepaidCard, part.source_id),
        SourceKind::Cash => (wire::allocation::Source::Cash, None),
        SourceKind::CloudAccount => (wire::allocation::Source::CloudAccount, part.source_id),
    };
    let source_id = source_id.map(|id| match part.kind {
        SourceKind::CloudAccount => SubscriptionId::from_uuid(id).to_string(),
        _ => VoucherId::from_uuid(id).to_string(),
    });
    wire::Allocation {
        line_number: part.line_number,
        source: source.into(),
        source_id: source_id.unwrap_or_default(),
        amount: Some(money(part.amount)),
    }
}

pub fn settlement(settlement: &Settlement) -> wire::Settlement {
    wire::Settlement {
        settlement_id: settlement.settlement_id.to_string(),
        bill_id: settlement.bill_id.to_string(),
        billing_account_id: settlement.billing_account_id.to_string(),
        workspace_id: settlement.workspace_id.to_string(),
        usage_date: Some(date(settlement.usage_date)),
        method: match settlement.subscription {
            Some(_) => wire::settlement::Method::CloudAccount.into(),
            None => wire::settlement::Method::BillingAccount.into(),
        },
        total: Some(money(settlement.total)),
        owed: Some(money(settlement.owed)),
        owed_remaining: Some(money(settlement.owed_remaining)),
        allocations: settlement.allocations.iter().map(allocation).collect(),
        settle_time: Some(timestamp(settlement.settled_at)),
    }
}

/// Nothing moves in the wallet of a closed account, and nothing is bound to it.
pub fn account_closed(id: BillingAccountId) -> Refusal {
    Refusal::new(Code::FailedPrecondition, ErrorReason::AccountClosed, format!("{id} is closed"))
        .with("accountId", id)
}

impl From<WalletRejection> for Refusal {
    fn from(rejection: WalletRejection) -> Self {
        match rejection {
            WalletRejection::NoAccount(id) => Self::not_found("billing account", id),
            WalletRejection::Currency { required, given } => {
                let message = format!("the account is in {required}, not in {given}");
                Self::new(Code::FailedPrecondition, ErrorReason::CurrencyMismatch, message)
                    .with("required", required)
                    .with("given", given)
            }
            WalletRejection::Closed(id) => account_closed(id),
            WalletRejection::Owes(amount) => {
                let message = format!("it owes {amount}");
                Self::new(Code::FailedPrecondition, ErrorReason::ClosingRefused, message)
                    .with("precondition", "ARREARS_OUTSTANDING")
            }
            WalletRejection::PaymentTaken(payment) => {
                let message =
                    format!("payment {} of {} was credited before", payment.reference, payment.provider);
                Self::new(Code::AlreadyExists, ErrorReason::PaymentReferenceTaken, message)
                    .with("provider", payment.provider)
                    .with("reference", payment.reference)
            }
            WalletRejection::Past(today) => {
                let problem = format!("must be {today} or later");
                Self::new(Code::InvalidArgument, ErrorReason::FieldInvalid, format!("last_date {problem}"))
                    .blaming("last_date", problem)
            }
            WalletRejection::NoRoom(amount) => {
                let message = format!("{amount} would take a balance to {MONEY_LIMIT} or more");
                Self::new(Code::FailedPrecondition, ErrorReason::NotEnoughRoom, message)
                    .with("available", MONEY_LIMIT)
            }
        }
    }
}

impl From<SettleRejection> for Refusal {
    fn from(rejection: SettleRejection) -> Self {
        match rejection {
            SettleRejection::Wallet(rejection) => rejection.into(),
            SettleRejection::Mismatch(id) => {
                let message = format!("{id} was settled with another payer, total or digest");
                Self::new(Code::FailedPrecondition, ErrorReason::BillMismatch, message).with("billId", id)
            }
        }
    }
}
