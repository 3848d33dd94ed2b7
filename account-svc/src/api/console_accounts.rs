//! `ConsoleAccountService`

use chassis::failure::Failure;
use chassis::id::ConsoleAccountId;
use chassis::page::Page;
use chassis::status::Refusal;
use chassis::wire::Violations;
use tallystick_proto::account::v1::console_account_service_server::ConsoleAccountService;
use tallystick_proto::account::v1::{
    ConsoleAccountServiceGetRequest, ConsoleAccountServiceGetResponse, ConsoleAccountServiceListRequest,
    ConsoleAccountServiceListResponse,
};
use tonic::{Request, Response, Status};

use super::convert;
use crate::app::{App, read_accounts};

pub struct Room {
    pub app: App,
}

#[tonic::async_trait]
impl ConsoleAccountService for Room {
    async fn get(
        &self,
        request: Request<ConsoleAccountServiceGetRequest>,
    ) -> Result<Response<ConsoleAccountServiceGetResponse>, Status> {
        let mut violations = Violations::new();
        let id =
            violations.parse::<ConsoleAccountId>("console_account_id", &request.get_ref().console_account_id);
        let id = violations.into_result(id)?;
        let found = read_accounts::console_account(&self.app, id).await.map_err(Failure::<Refusal>::from)?;
        let account = found.ok_or_else(|| Refusal::not_found("console account", id))?;
        let console_account = Some(convert::console_account(&account));
        Ok(Response::new(ConsoleAccountServiceGetResponse { console_account }))
    }

    async fn list(
        &self,
        request: Request<ConsoleAccountServiceListRequest>,
    ) -> Result<Response<ConsoleAccountServiceListResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::parse(&mut violations, request.page_size, &request.page_token, "console_accounts");
        let after = page.as_ref().and_then(|page| page.after_as(&mut violations));
        let page = violations.into_result(page)?;
        let rows = read_accounts::console_accounts(&self.app, after, page.fetch_limit()).await;
        let paged =
            page.close(rows.map_err(Failure::<Refusal>::from)?, |row| row.console_account_id.to_string());
        Ok(Response::new(ConsoleAccountServiceListResponse {
            console_accounts: paged.rows.iter().map(convert::console_account).collect(),
            next_page_token: paged.next_page_token,
        }))
    }
}
