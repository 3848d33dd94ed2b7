//! `PriceBookService`

use chassis::failure::Failure;
use chassis::idempotency::{Idempotent, respond};
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::{Violations, caller};
use tallystick_proto::billing::v1::price_book_service_server::PriceBookService;
use tallystick_proto::billing::v1::{
    PriceBookServiceGetRequest, PriceBookServiceGetResponse, PriceBookServiceListRequest,
    PriceBookServiceListResponse, PriceBookServicePublishRequest, PriceBookServicePublishResponse,
    PriceBookServiceQuoteRequest, PriceBookServiceQuoteResponse,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{convert, parse};
use crate::app::publish_price_book::publish_price_book;
use crate::app::quote_usage::quote_usage;
use crate::app::{App, read_bills};

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl PriceBookService for Room {
    async fn publish(
        &self,
        request: Request<PriceBookServicePublishRequest>,
    ) -> Result<Response<PriceBookServicePublishResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let request_id = violations.request_id(&request.request_id);
        let key = parse::book_key(&mut violations, &request.currency_code, request.site_class);
        let entries = parse::entries(&mut violations, &request.entries);
        let (request_id, (key, entries)) = violations.into_result(request_id.zip(key.zip(entries)))?;
        let method = "PriceBookService/Publish";
        let once = Idempotent::new(Uuid::nil(), &caller, method, request_id, &request, convert::published);
        let outcome = publish_price_book(&self.app, &once, key, entries).await?;
        respond(outcome, convert::published)
    }

    async fn get(
        &self,
        request: Request<PriceBookServiceGetRequest>,
    ) -> Result<Response<PriceBookServiceGetResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let key = parse::book_key(&mut violations, &request.currency_code, request.site_class);
        let day = violations.date("usage_date", request.usage_date.as_ref());
        let (key, day) = violations.into_result(key.zip(day))?;
        let found = read_bills::price_book(&self.app, key, day).await.map_err(Failure::<Refusal>::from)?;
        let name = format!("{} {}", key.currency, key.site_class.word());
        let (book, entries) = found.ok_or_else(|| Refusal::not_found("price book", name))?;
        Ok(Response::new(PriceBookServiceGetResponse {
            price_book: Some(convert::price_book(&book)),
            entries: entries.iter().map(convert::price_entry).collect(),
        }))
    }

    async fn list(
        &self,
        request: Request<PriceBookServiceListRequest>,
    ) -> Result<Response<PriceBookServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "price_books");
        let page = violations.into_result(page)?;
        let mut rows = read_bills::price_books(&self.app).await.map_err(Failure::<Refusal>::from)?;
        let key = |book: &crate::domain::price_book::PriceBook| {
            format!("{} {}", book.key.currency, book.key.site_class.word())
        };
        rows.retain(|book| page.after.as_ref().is_none_or(|after| key(book) > *after));
        let paged = page.close(rows, key);
        Ok(Response::new(PriceBookServiceListResponse {
            price_books: paged.rows.iter().map(convert::price_book).collect(),
            next_page_token: paged.next_page_token,
        }))
    }

    async fn quote(
        &self,
        request: Request<PriceBookServiceQuoteRequest>,
    ) -> Result<Response<PriceBookServiceQuoteResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let key = parse::book_key(&mut violations, &request.currency_code, request.site_class);
        let day = violations.date("usage_date", request.usage_date.as_ref());
        let quantities = parse::quantities(&mut violations, &request.quantities);
        let ((key, day), quantities) = violations.into_result(key.zip(day).zip(quantities))?;
        let quoted = quote_usage(&self.app, key, day, quantities).await?;
        Ok(Response::new(convert::quoted(&quoted)))
    }
}
