//! One hundred days are sealed the moment they have ended, each while usage of it pours in: what is sealed and what is late add up
//! to what was accepted, to the unit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tallystick_proto::workspace::v1::{UsageServiceIngestBatchRequest, UsageServiceQueryRequest};
use tests::{Settled, World};
use time::Duration;
use uuid::Uuid;

const DAYS: i64 = 100;
const SENDERS: u128 = 4;

/// What a sender was told.
#[derive(Default)]
struct Told {
    accepted: AtomicI64,
    late: AtomicI64,
}

async fn pour(
    customer: Arc<Settled>,
    day: chassis::civil::UsageDate,
    sender: u128,
    told: Arc<Told>,
    stop: Arc<AtomicBool>,
) {
    let mut batch = 0_u128;
    let mut enough = 0;
    // Until the day was sealed, and two batches more.
    while enough < 2 {
        if stop.load(Ordering::SeqCst) {
            enough += 1;
        }
        let records = (0..40_u128)
            .map(|index| {
                let place = (sender << 64) + (batch << 16) + index;
                let minute = i64::try_from((batch * 40 + index) % 1_440).unwrap();
                let mut record = customer.journey.record(
                    customer.workspace(),
                    "",
                    day.start() + Duration::minutes(minute),
                    ("log", "", "1"),
                );
                record.event_id =
                    Uuid::from_u128((u128::from(day.date().to_julian_day().unsigned_abs()) << 96) + place)
                        .to_string();
                record
            })
            .collect();
        let request = UsageServiceIngestBatchRequest { records };
        let answer = customer.journey.clients.usage.clone().ingest_batch(request).await.unwrap().into_inner();
        assert!(answer.refusals.is_empty(), "{:?}", answer.refusals.first());
        told.accepted.fetch_add(i64::from(answer.accepted_count), Ordering::SeqCst);
        told.late.fetch_add(i64::from(answer.late_count), Ordering::SeqCst);
        batch += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hundred_seals_during_ingest_lose_and_double_nothing() {
    let world = World::without_prices().await.unwrap();
    let customer = Arc::new(world.customer("pourer").await.unwrap());
    let mut both = 0;
    for offset in 0..DAYS {
        let day = customer.day.plus_days(offset);
        world.clients.advance_to(day.end()).await.unwrap();
        let told = Arc::new(Told::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(pour(Arc::clone(&customer), day, sender, Arc::clone(&told), Arc::clone(&stop)));
        }
        // Let some of it arrive, a little more each day, so that the seal falls into ever other places.
        while told.accepted.load(Ordering::SeqCst) < 40 * (1 + offset % 7) {
            let acked = told.accepted.load(Ordering::SeqCst);
            let used = used_quantity(&world, &customer, day).await;
            assert!(used >= acked, "{day}: {used} are read after {acked} were acked");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        customer.journey.seal(day).await.unwrap();
        stop.store(true, Ordering::SeqCst);
        senders.join_all().await;
        let (accepted, late) = (told.accepted.load(Ordering::SeqCst), told.late.load(Ordering::SeqCst));
        let sealed = sealed_quantity(&world, &customer, day).await;
        assert_eq!(sealed + late, accepted, "{day}: {sealed} sealed, {late} late, {accepted} accepted");
        assert_eq!(used_quantity(&world, &customer, day).await, accepted, "{day}");
        both += i64::from(late > 0 && sealed > 0);
    }
    assert!(both > DAYS / 2, "only {both} seals fell into the middle of ingest");
}

/// What a reader is told, folded or not.
async fn used_quantity(world: &World, customer: &Settled, day: chassis::civil::UsageDate) -> i64 {
    let query = UsageServiceQueryRequest {
        workspace_id: customer.workspace().to_owned(),
        usage_date: Some(chassis::wire::date(day)),
        ..Default::default()
    };
    let answer = world.clients.usage.clone().query(query).await.unwrap().into_inner();
    answer.lines.first().map_or(0, |line| line.quantity.parse().unwrap())
}

async fn sealed_quantity(world: &World, customer: &Settled, day: chassis::civil::UsageDate) -> i64 {
    let workspace: chassis::id::WorkspaceId = customer.workspace().parse().unwrap();
    let quantity: Option<rust_decimal::Decimal> = sqlx::query_scalar(
        "select sum(quantity) from workspace.sealed_lines where workspace_id = $1 and usage_date = $2",
    )
    .bind(workspace.uuid())
    .bind(day.date())
    .fetch_one(&mut world.scratch.admin().await.unwrap())
    .await
    .unwrap();
    i64::try_from(quantity.unwrap_or_default()).unwrap()
}
