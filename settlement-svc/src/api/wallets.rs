//! `WalletService`

use chassis::failure::Failure;
use chassis::id::BillingAccountId;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller, money};
use rust_decimal::Decimal;
use tallystick_proto::settlement::v1::wallet_service_server::WalletService;
use tallystick_proto::settlement::v1::{
    WalletServiceCloseRequest, WalletServiceCloseResponse, WalletServiceGetBalanceRequest,
    WalletServiceGetBalanceResponse, WalletServiceGrantVoucherRequest, WalletServiceGrantVoucherResponse,
    WalletServiceListEntriesRequest, WalletServiceListEntriesResponse, WalletServiceListVouchersRequest,
    WalletServiceListVouchersResponse, WalletServiceTopUpRequest, WalletServiceTopUpResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert;
use crate::app::close_wallet::close_wallet;
use crate::app::grant_voucher::{self, Grant};
use crate::app::top_up::{Payment, top_up};
use crate::app::{App, read_wallet};

/// The largest top-up, in the account's currency.
const TOP_UP_MAX: Decimal = Decimal::from_parts(100_000_000, 0, 0, false, 0);
/// The largest voucher.
const VOUCHER_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// The longest validity of a voucher.
const VALIDITY_DAYS_MAX: i64 = 3_660;

pub struct Room {
    pub app: App,
}

fn payment(violations: &mut Violations, provider: &str, reference: &str) -> Option<Payment> {
    let provider = violations.word("provider", provider, 1, 32);
    let fits = (1..=128).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_graphic());
    let problem = "must be 1 to 128 visible ASCII characters";
    let reference = violations.check("reference", fits.then(|| reference.to_owned()).ok_or(problem));
    Some(Payment { provider: provider?, reference: reference? })
}

#[tonic::async_trait]
impl WalletService for Room {
    async fn top_up(
        &self,
        request: Request<WalletServiceTopUpRequest>,
    ) -> Result<Response<WalletServiceTopUpResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let amount = violations.positive_money("amount", request.amount.as_ref(), TOP_UP_MAX);
        let payment = payment(&mut violations, &request.provider, &request.reference);
        let ((request_id, id), (amount, payment)) =
            violations.into_result(request_id.zip(id).zip(amount.zip(payment)))?;
        let method = "WalletService/TopUp";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::topped_up);
        let outcome = top_up(&self.app, &once, id, amount, payment).await?;
        respond(outcome, convert::topped_up)
    }

    async fn grant_voucher(
        &self,
        request: Request<WalletServiceGrantVoucherRequest>,
    ) -> Result<Response<WalletServiceGrantVoucherResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let face_value = violations.positive_money("face_value", request.face_value.as_ref(), VOUCHER_MAX);
        let last_date = violations.date("last_date", request.last_date.as_ref());
        let latest = grant_voucher::today(&self.app).plus_days(VALIDITY_DAYS_MAX);
        if last_date.is_some_and(|date| date > latest) {
            violations.add("last_date", format!("must be {latest} at the latest"));
        }
        let reason = violations.text("grant_reason", &request.grant_reason, 200);
        let ((request_id, id), ((face_value, last_date), reason)) =
            violations.into_result(request_id.zip(id).zip(face_value.zip(last_date).zip(reason)))?;
        let method = "WalletService/GrantVoucher";
        let once = Idempotent::new(id.uuid(), &caller, method, request_id, &request, convert::granted);
        let grant = Grant { billing_account_id: id, face_value, last_date, reason };
        let outcome = grant_voucher::grant_voucher(&self.app, &once, grant).await?;
        respond(outcome, convert::granted)
    }

    async fn close(
        &self,
        request: Request<WalletServiceCloseRequest>,
    ) -> Result<Response<WalletServiceCloseResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<BillingAccountId>("billing_account_id", &request.get_ref().billing_account_id);
        let id = violations.into_result(id)?;
        let voided = close_wallet(&self.app, id).await?;
        Ok(Response::new(WalletServiceCloseResponse { voided_amount: Some(money(voided)) }))
    }

    async fn get_balance(
        &self,
        request: Request<WalletServiceGetBalanceRequest>,
    ) -> Result<Response<WalletServiceGetBalanceResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<BillingAccountId>("billing_account_id", &request.get_ref().billing_account_id);
        let id = violations.into_result(id)?;
        let balance = read_wallet::balance(&self.app, id).await?;
        Ok(Response::new(WalletServiceGetBalanceResponse { balance: Some(convert::balance(&balance)) }))
    }

    async fn list_vouchers(
        &self,
        request: Request<WalletServiceListVouchersRequest>,
    ) -> Result<Response<WalletServiceListVouchersResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let filters = format!("vouchers {}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_wallet::vouchers::<Refusal>(&self.app, id, after, page.fetch_limit()).await?;
        let paged = page.close(rows, |held| held.voucher.voucher_id.to_string());
        Ok(Response::new(WalletServiceListVouchersResponse {
            vouchers: paged.rows.iter().map(convert::voucher).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn list_entries(
        &self,
        request: Request<WalletServiceListEntriesRequest>,
    ) -> Result<Response<WalletServiceListEntriesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let id = violations.parse::<BillingAccountId>("billing_account_id", &request.billing_account_id);
        let filters = format!("entries {}", request.billing_account_id);
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, &filters);
        let after = page.as_ref().and_then(|page| page.after_as::<Uuid>(&mut violations));
        let (id, page) = violations.into_result(id.zip(page))?;
        let rows = read_wallet::entries(&self.app, id, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |entry| entry.transfer_id.to_string());
        Ok(Response::new(WalletServiceListEntriesResponse {
            entries: paged.rows.iter().map(convert::entry).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
