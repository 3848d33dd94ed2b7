//! Every list is paged by key: a walk in small pages meets every row once; a token fits only its own list.

use chassis::status::reason_of;
use tallystick_proto::account::v1::{BillingAccountServiceListRequest, ConsoleAccountServiceListRequest};
use tallystick_proto::billing::v1::package::Kind as PackageKind;
use tallystick_proto::billing::v1::{
    BillRunServiceListRequest, BillServiceListRequest, PackageServiceListRequest,
    PackageServiceRegisterRequest, PriceBookServiceListRequest,
};
use tallystick_proto::common::v1::Vendor;
use tallystick_proto::settlement::v1::cloud_account_service_bind_request::Proof;
use tallystick_proto::settlement::v1::simulated_marketplace_service_tell_request::Event;
use tallystick_proto::settlement::v1::{
    CloudAccountServiceListRequest, CloudAccountServiceListSubscriptionsRequest,
    SettlementMethodServiceListChangesRequest, SettlementServiceListRequest, WalletServiceListEntriesRequest,
    WalletServiceListVouchersRequest,
};
use tallystick_proto::workspace::v1::member::Role;
use tallystick_proto::workspace::v1::{
    BindingServiceListRequest, MemberServiceListRequest, UsageServiceListMetersRequest,
    UsageServiceListSealFailuresRequest, WorkspaceServiceListRequest,
};
use tests::{World, cny};
use time::Duration;

use crate::methods::{bind, buy, change, fresh, tell};
use crate::workspaces::add_member;

/// Walks a list in pages of one and in one page, and compares.
macro_rules! walks {
    ($client:expr, $method:ident, $request:expr, $rows:ident, $count:expr) => {{
        let whole = $client.clone().$method($request.clone()).await.unwrap().into_inner();
        let mut walked = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut request = $request.clone();
            request.page_size = 1;
            request.page_token = page_token;
            let page = $client.clone().$method(request).await.unwrap().into_inner();
            assert!(page.$rows.len() <= 1);
            walked.extend(page.$rows);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(walked, whole.$rows, stringify!($rows));
        assert_eq!(walked.len(), $count, stringify!($rows));
        let mut negative = $request.clone();
        negative.page_size = -1;
        let refused = $client.clone().$method(negative).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("FIELD_INVALID"));
        let mut forged = $request.clone();
        forged.page_token = "Zm9yZ2Vk".into();
        let refused = $client.clone().$method(forged).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("FIELD_INVALID"));
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_walked_page_by_page() {
    let world = World::new().await.unwrap();
    let first = world.customer("first").await.unwrap();
    let second = world.journey("second").register().await.unwrap();
    first.journey.top_up(first.payer(), cny("100.00")).await.unwrap();
    first.journey.grant_voucher(first.payer(), cny("0.50"), first.day).await.unwrap();
    for offset in 0..3 {
        let day = first.day.plus_days(offset);
        world.clients.advance_to(day.start() + Duration::hours(10)).await.unwrap();
        let time = day.start() + Duration::hours(9);
        let record =
            first.journey.record(first.workspace(), &format!("day {offset}"), time, ("log", "", "2000000"));
        first.journey.ingest(vec![record]).await.unwrap();
        world.clients.advance_to(day.end() + Duration::minutes(65)).await.unwrap();
        first.journey.seal(day).await.unwrap();
        first.journey.run_bills(day).await.unwrap();
    }
    world.reconcile().await.unwrap();
    let c = &world.clients;
    walks!(c.console_accounts, list, ConsoleAccountServiceListRequest::default(), console_accounts, 2);
    walks!(c.billing_accounts, list, BillingAccountServiceListRequest::default(), billing_accounts, 2);
    walks!(c.workspaces, list, WorkspaceServiceListRequest::default(), workspaces, 2);
    let bindings = BindingServiceListRequest { workspace_id: second.workspace_id, ..Default::default() };
    walks!(c.bindings, list, bindings, bindings, 1);
    walks!(c.usage, list_meters, UsageServiceListMetersRequest::default(), meters, 34);
    walks!(c.price_books, list, PriceBookServiceListRequest::default(), price_books, 4);
    walks!(c.bill_runs, list, BillRunServiceListRequest::default(), bill_runs, 3);
    let of_workspace =
        BillServiceListRequest { workspace_id: first.workspace().into(), ..Default::default() };
    walks!(c.bills, list, of_workspace, bills, 3);
    let of_payer = BillServiceListRequest { billing_account_id: first.payer().into(), ..Default::default() };
    walks!(c.bills, list, of_payer, bills, 3);
    let payer = || first.payer().to_owned();
    let entries = WalletServiceListEntriesRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.wallets, list_entries, entries, entries, 6);
    let vouchers = WalletServiceListVouchersRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.wallets, list_vouchers, vouchers, vouchers, 1);
    let settlements = SettlementServiceListRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.settlements, list, settlements, settlements, 3);
}

/// The lists of members, methods, cloud accounts, subscriptions, packages, and of what could not be sealed.
#[tokio::test(flavor = "multi_thread")]
async fn the_lists_of_a_customer_are_walked_page_by_page() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("walked").await.unwrap();
    let mut first = None;
    for number in 1..=2 {
        let (bought, token) = buy(&world, Vendor::AlibabaCloud, &format!("walked-{number}"), "CNY").await;
        bind(&world, own.payer(), Proof::LandingToken(token)).await.unwrap();
        first.get_or_insert(bought.subscription_id);
        let member = world.journey(&format!("member-{number}")).register().await.unwrap();
        let added = (own.workspace(), member.console_account_id.as_str());
        add_member(&world, added, Role::ReadOnly, false, number).await.unwrap();
    }
    let first = first.unwrap();
    world.clients.methods.clone().change(change(own.workspace(), Some(&first))).await.unwrap();
    tell(&world, &first, Event::Closed).await.unwrap();
    let package = PackageServiceRegisterRequest {
        request_id: fresh(),
        billing_account_id: own.payer().to_owned(),
        kind: PackageKind::Startup.into(),
        contract: "contract 1".to_owned(),
    };
    world.clients.packages.clone().register(package).await.unwrap();
    let c = &world.clients;
    let payer = || own.payer().to_owned();
    let workspace_id = || own.workspace().to_owned();
    let members = MemberServiceListRequest { workspace_id: workspace_id(), ..Default::default() };
    walks!(c.members, list, members, members, 2);
    let changes =
        SettlementMethodServiceListChangesRequest { workspace_id: workspace_id(), ..Default::default() };
    walks!(c.methods, list_changes, changes, settlement_methods, 2);
    let accounts = CloudAccountServiceListRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.cloud_accounts, list, accounts, cloud_accounts, 2);
    let subscriptions =
        CloudAccountServiceListSubscriptionsRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.cloud_accounts, list_subscriptions, subscriptions, subscriptions, 2);
    let packages = PackageServiceListRequest { billing_account_id: payer(), ..Default::default() };
    walks!(c.packages, list, packages, packages, 1);
    sqlx::query(
        "insert into workspace.seal_failures (workspace_id, usage_date, reason, problem, failed_at, tries) \
         select gen_random_uuid(), '2026-01-01', 'FAULT', 'x', now(), 1 from generate_series(1, 3)",
    )
    .execute(&mut world.scratch.admin().await.unwrap())
    .await
    .unwrap();
    let failures = UsageServiceListSealFailuresRequest {
        usage_date: Some(chassis::wire::date("2026-01-01".parse().unwrap())),
        ..Default::default()
    };
    walks!(c.usage, list_seal_failures, failures, seal_failures, 3);
}
