//! How bills are paid: vouchers before cash, what nothing covers is owed and repaid, each bill once.

use chassis::status::reason_of;
use chassis::wire::date;
use tallystick_proto::billing::v1::{BillServiceRecordSettlementRequest, BillSettlement};
use tallystick_proto::settlement::v1::allocation::Source;
use tallystick_proto::settlement::v1::settlement_service_client::SettlementServiceClient;
use tallystick_proto::settlement::v1::{
    SettleLine, SettlementServiceSettleRequest, WalletServiceTopUpRequest,
};
use tests::{Settled, World, cny};
use uuid::Uuid;

fn bill(
    customer: &Settled,
    number: u128,
    day: i64,
    ordinary: &str,
    restricted: &str,
    total: &str,
) -> SettlementServiceSettleRequest {
    SettlementServiceSettleRequest {
        bill_id: format!("bill_{}", Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)),
        billing_account_id: customer.payer().to_owned(),
        workspace_id: customer.workspace().to_owned(),
        usage_date: Some(date(customer.day.plus_days(day))),
        total: Some(cny(total)),
        lines: vec![
            SettleLine { amount: Some(cny(ordinary)), restricted: false },
            SettleLine { amount: Some(cny(restricted)), restricted: true },
        ],
        bill_digest: format!("{number:064x}"),
    }
}

/// As billing-svc calls it.
fn settlements(world: &World) -> SettlementServiceClient<chassis::peer::PeerChannel> {
    let uri = world.stack.uri("settlement-svc").unwrap();
    let signer = world.stack.signers[2].clone();
    SettlementServiceClient::new(chassis::peer::channel(&uri, "settlement-svc", signer).unwrap())
}

async fn top_up(
    world: &World,
    customer: &Settled,
    number: u128,
    amount: &str,
) -> tallystick_proto::settlement::v1::WalletServiceTopUpResponse {
    let request = WalletServiceTopUpRequest {
        request_id: Uuid::from_u128(0x0190_0000_0000_7000_9000_0000_0000_0000 + number).to_string(),
        billing_account_id: customer.payer().to_owned(),
        amount: Some(cny(amount)),
        provider: "bank".into(),
        reference: format!("payment-{number}"),
    };
    world.clients.wallets.clone().top_up(request).await.unwrap().into_inner()
}

/// EX-25 as far as today's sources go: a voucher of 30 and cash of 10 for 80 + 20: 60 is owed; a payment repays the oldest first.
#[tokio::test(flavor = "multi_thread")]
async fn vouchers_pay_first_restricted_lines_take_none_and_arrears_are_repaid() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("ex25").await.unwrap();
    customer.journey.grant_voucher(customer.payer(), cny("30.00"), customer.day).await.unwrap();
    top_up(&world, &customer, 1, "10.00").await;
    let mut client = settlements(&world);
    let first = bill(&customer, 1, 0, "80.00", "20.00", "100.00");
    let settled = client.settle(first.clone()).await.unwrap().into_inner().settlement.unwrap();
    let parts: Vec<_> = settled
        .allocations
        .iter()
        .map(|part| (part.line_number, part.source(), part.amount.clone().unwrap().amount))
        .collect();
    assert_eq!(parts, [(1, Source::PlainVoucher, "30.00".into()), (1, Source::Cash, "10.00".into())]);
    assert_eq!(settled.owed, Some(cny("60.00")));
    let second = client.settle(bill(&customer, 2, 1, "5.00", "0.00", "5.00")).await.unwrap().into_inner();
    assert_eq!(second.settlement.unwrap().owed, Some(cny("5.00")));
    let balance = customer.journey.balance(customer.payer()).await.unwrap();
    assert_eq!((balance.cash, balance.arrears), (Some(cny("0.00")), Some(cny("65.00"))));

    let repaid = top_up(&world, &customer, 2, "62.00").await;
    assert_eq!(repaid.repaid_amount, Some(cny("62.00")));
    let of = |id: String| customer.journey.settlement(customer.payer(), Box::leak(id.into_boxed_str()));
    assert_eq!(
        of(first.bill_id.clone()).await.unwrap().owed_remaining,
        Some(cny("0.00")),
        "the oldest first"
    );
    assert_eq!(
        of(bill(&customer, 2, 1, "", "", "").bill_id).await.unwrap().owed_remaining,
        Some(cny("3.00"))
    );
    let rest = top_up(&world, &customer, 3, "10.00").await;
    assert_eq!(rest.repaid_amount, Some(cny("3.00")));
    assert_eq!(rest.balance.unwrap().cash, Some(cny("7.00")), "only the rest becomes balance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_is_settled_once_and_another_with_its_id_is_refused() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("once").await.unwrap();
    top_up(&world, &customer, 1, "100.00").await;
    let request = bill(&customer, 3, 0, "7.00", "1.00", "8.00");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let (mut client, request) = (settlements(&world), request.clone());
        calls.spawn(async move { client.settle(request).await.unwrap().into_inner() });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(customer.journey.balance(customer.payer()).await.unwrap().cash, Some(cny("92.00")));
    let mut client = settlements(&world);
    let digest = SettlementServiceSettleRequest { bill_digest: "f".repeat(64), ..request.clone() };
    let refused = client.settle(digest).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("BILL_MISMATCH"));
    let other = bill(&customer, 3, 0, "8.00", "1.00", "9.00");
    assert_eq!(reason_of(&client.settle(other).await.unwrap_err()).as_deref(), Some("BILL_MISMATCH"));
    let rival = world.journey("rival").register().await.unwrap().billing_account_id;
    let elsewhere = SettlementServiceSettleRequest { billing_account_id: rival, ..request.clone() };
    assert_eq!(reason_of(&client.settle(elsewhere).await.unwrap_err()).as_deref(), Some("BILL_MISMATCH"));
    let unknown = format!("bacc_{}", Uuid::from_u128(4));
    let nobody = SettlementServiceSettleRequest { billing_account_id: unknown, ..request.clone() };
    assert_eq!(reason_of(&client.settle(nobody).await.unwrap_err()).as_deref(), Some("OBJECT_NOT_FOUND"));
    for total in ["8.01", "-8.00", "NaN"] {
        let wrong = SettlementServiceSettleRequest {
            total: Some(cny(total)),
            ..bill(&customer, 4, 0, "7.00", "1.00", "")
        };
        assert_eq!(
            reason_of(&client.settle(wrong).await.unwrap_err()).as_deref(),
            Some("FIELD_INVALID"),
            "{total}"
        );
    }
}

/// 64 settlements race for the last cent of a wallet: it is spent once, the rest is owed, nothing deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_cent_is_spent_once() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("cent").await.unwrap();
    top_up(&world, &customer, 1, "0.01").await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let request = bill(&customer, 100 + number, 0, "0.01", "0.00", "0.01");
        let mut client = settlements(&world);
        calls.spawn(async move { client.settle(request).await.unwrap().into_inner().settlement.unwrap() });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|settlement| settlement.allocations.len() == 1).count(), 1);
    let balance = customer.journey.balance(customer.payer()).await.unwrap();
    assert_eq!((balance.cash, balance.arrears), (Some(cny("0.00")), Some(cny("0.63"))));
}

/// billing-svc takes one settlement of a bill, whose parts add up.
#[tokio::test(flavor = "multi_thread")]
async fn another_settlement_of_a_bill_is_refused() {
    let world = World::new().await.unwrap();
    let played = local::demonstration::play(&world.clients).await.unwrap();
    let uri = world.stack.uri("billing-svc").unwrap();
    let channel = chassis::peer::channel(&uri, "billing-svc", world.stack.signers[3].clone()).unwrap();
    let mut client = tallystick_proto::billing::v1::bill_service_client::BillServiceClient::new(channel);
    let bill =
        world.journey("reader").bill(&played.registration.workspace_id, played.day).await.unwrap().unwrap();
    let settlement = bill.settlement.clone().unwrap();
    let request = |settlement: BillSettlement| BillServiceRecordSettlementRequest {
        workspace_id: bill.workspace_id.clone(),
        bill_id: bill.bill_id.clone(),
        settlement: Some(settlement),
    };
    client.record_settlement(request(settlement.clone())).await.unwrap();
    let other = BillSettlement {
        cash_amount: Some(cny("13.40")),
        voucher_amount: Some(cny("0.00")),
        ..settlement.clone()
    };
    let refused = client.record_settlement(request(other)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("BILL_MISMATCH"));
    let short = BillSettlement { cash_amount: Some(cny("3.39")), ..settlement.clone() };
    let refused = client.record_settlement(request(short)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("BILL_MISMATCH"));
    let mut nowhere = request(settlement);
    nowhere.bill_id = format!("bill_{}", Uuid::from_u128(6));
    let refused = client.record_settlement(nowhere).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("OBJECT_NOT_FOUND"));
    world.reconcile().await.unwrap();
}
