//! What the contract promises of every error and of the clock.

use chassis::status::{metadata_of, reason_of};
use chassis::wire::timestamp;
use tallystick_proto::billing::v1::BillServiceGetRequest;
use tallystick_proto::ops::v1::{ClockServiceAdvanceRequest, ClockServiceGetRequest};
use tests::World;
use time::Duration;
use tonic::Code;
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn every_error_carries_its_reason_and_details() {
    let world = World::without_prices().await.unwrap();
    let unknown = "bill_01900000-0000-7000-8000-000000000000".to_owned();
    let status = world
        .clients
        .bills
        .clone()
        .get(BillServiceGetRequest { bill_id: unknown.clone() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(metadata_of(&status, "id").as_deref(), Some(unknown.as_str()));
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, unknown);
    let mut registration = world.journey("x");
    registration.customer.email = "no address".into();
    registration.customer.username = "?".into();
    registration.customer.workspace_name = String::new();
    let error = registration.register().await.unwrap_err();
    let status = error.downcast_ref::<tonic::Status>().unwrap();
    let fields: Vec<_> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(fields, ["email", "username", "workspace_name"], "all violations at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_moves_forward_only_and_is_kept() {
    let world = World::without_prices().await.unwrap();
    let before = world.clients.now().await.unwrap();
    world.clients.advance_to(before + Duration::days(40)).await.unwrap();
    let clock = world.clients.clocks[2].clone();
    let back = ClockServiceAdvanceRequest { now_time: Some(timestamp(before + Duration::days(39))) };
    let status = clock.clone().advance(back).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("CLOCK_BACKWARD"));
    let far = ClockServiceAdvanceRequest { now_time: Some(timestamp(before + Duration::days(9_000))) };
    let status = clock.clone().advance(far).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("FIELD_INVALID"));
    let world = world.restart().await.unwrap();
    assert!(world.clients.now().await.unwrap() >= before + Duration::days(40));
    for clock in &world.clients.clocks {
        assert!(clock.clone().get(ClockServiceGetRequest {}).await.unwrap().into_inner().movable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_database_without_the_test_flag_does_not_move() {
    let world = World::without_prices().await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    sqlx::query("update billing.deployment set is_test = false, clock_offset_micros = 0")
        .execute(&mut admin)
        .await
        .unwrap();
    let now = world.clients.now().await.unwrap();
    let request = ClockServiceAdvanceRequest { now_time: Some(timestamp(now + Duration::HOUR)) };
    let status = world.clients.clocks[2].clone().advance(request).await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("NOT_A_TEST_DATABASE"));
}
