//! How services behave: health, draining, streams, interrupted work.

use std::str::FromStr;

use tallystick_proto::workspace::v1::UsageServiceIngestRequest;
use tests::{World, cny};
use time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_acks_every_batch_after_its_commit_in_the_order_sent() {
    let world = World::without_prices().await.unwrap();
    let customer = world.customer("stream").await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(20)).await.unwrap();
    let (send, batches) = tokio::sync::mpsc::channel(4);
    let answer = world.clients.usage.clone().ingest(ReceiverStream::new(batches)).await.unwrap();
    let mut acks = answer.into_inner();
    for batch_seq in 0..20 {
        let records = (0..50)
            .map(|i| customer.record(&format!("{} {i}", batch_seq % 15), i, ("log", "", "1")))
            .collect();
        send.send(UsageServiceIngestRequest { batch_seq, records }).await.unwrap();
    }
    drop(send);
    let mut counts = (0, 0);
    for batch_seq in 0..20 {
        let ack = acks.message().await.unwrap().unwrap();
        assert_eq!(ack.batch_seq, batch_seq);
        counts = (counts.0 + ack.accepted_count, counts.1 + ack.duplicate_count);
    }
    assert!(acks.message().await.unwrap().is_none());
    assert_eq!(counts, (750, 250), "five batches were sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_service_ends_streams_with_unavailable_and_stops() {
    let world = World::without_prices().await.unwrap();
    let (_send, batches) = tokio::sync::mpsc::channel::<UsageServiceIngestRequest>(1);
    let mut acks =
        world.clients.usage.clone().ingest(ReceiverStream::new(batches)).await.unwrap().into_inner();
    world.stack.stop().await.unwrap();
    let ended = acks.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable, "{ended:?}");
    assert!(world.clients.now().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_the_process_from_its_services() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    let world = World::without_prices().await.unwrap();
    for name in ["account-svc", "workspace-svc", "billing-svc", "settlement-svc"] {
        let channel = Endpoint::from_str(&world.stack.uri(name).unwrap()).unwrap().connect_lazy();
        let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
        let mut status = async |service: &str| {
            client
                .check(HealthCheckRequest { service: service.to_owned() })
                .await
                .map(|answer| answer.get_ref().status())
        };
        assert_eq!(status("").await.unwrap(), ServingStatus::Serving);
        assert_eq!(status("tallystick.ops.v1.ClockService").await.unwrap(), ServingStatus::Serving);
        assert_eq!(status("tallystick.nothing.v1.Service").await.unwrap_err().code(), tonic::Code::NotFound);
    }
}

/// A service whose database has no schema says NOT_SERVING, and every call says UNAVAILABLE or INTERNAL, never a wrong answer.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_schema_version() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    let world = World::without_prices().await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    sqlx::query("delete from billing._sqlx_migrations where version > 1").execute(&mut admin).await.unwrap();
    let channel = Endpoint::from_str(&world.stack.uri("billing-svc").unwrap()).unwrap().connect_lazy();
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let wait = async {
        loop {
            let service = "tallystick.billing.v1.BillService".to_owned();
            let answer = client.check(HealthCheckRequest { service }).await.unwrap();
            if answer.get_ref().status() == ServingStatus::NotServing {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, wait).await.unwrap();
}

/// Stopped in the middle of everything and started again: the run ends, the bill is settled once.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_interrupted_goes_on_after_a_restart() {
    let world = World::new().await.unwrap();
    let customer = world.customer("interrupted").await.unwrap();
    customer.journey.top_up(customer.payer(), cny("100.00")).await.unwrap();
    world.clients.advance_to(customer.day.start() + Duration::hours(20)).await.unwrap();
    customer.journey.ingest(vec![customer.record("one", 60, ("log", "", "2000000"))]).await.unwrap();
    world.clients.advance_to(customer.day.end() + Duration::minutes(65)).await.unwrap();
    customer.journey.seal(customer.day).await.unwrap();
    let request = tallystick_proto::billing::v1::BillRunServiceCreateRequest {
        request_id: uuid::Uuid::from_u128(5).to_string(),
        usage_date: Some(chassis::wire::date(customer.day)),
    };
    world.clients.bill_runs.clone().create(request).await.unwrap();
    let (workspace, day, payer) =
        (customer.workspace().to_owned(), customer.day, customer.payer().to_owned());
    let world = world.restart().await.unwrap();
    let journey = world.journey("interrupted");
    let bill = journey.settled_bill(&workspace, day).await.unwrap();
    assert_eq!(bill.total, Some(cny("3.00")));
    assert_eq!(journey.balance(&payer).await.unwrap().cash, Some(cny("97.00")));
    world.reconcile().await.unwrap();
}
