//! Batches of many callers are committed together; each hears of its own records, and nothing is counted twice.

use chassis::civil::UsageDate;
use sqlx::Connection as _;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::{
    UsageRecord, UsageServiceIngestBatchRequest, UsageServiceIngestBatchResponse,
};
use tests::World;
use time::Duration;

/// Two callers send every record at the same moment, beside a malformed one; of every tenth the second says another quantity.
#[tokio::test(flavor = "multi_thread")]
async fn callers_at_once_count_each_record_once_and_hear_of_their_own() {
    const PAIRS: usize = 150;
    let world = World::new().await.unwrap();
    let own = world.customer("crowd").await.unwrap();
    world.clients.advance_to(own.day.start() + Duration::hours(3)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for pair in 0..PAIRS {
        for second in [false, true] {
            let mut record = own.record(&format!("pair {pair}"), 60, ("pv", "", "10"));
            if second && pair % 10 == 0 {
                record.quantity = "11".to_owned();
            }
            let malformed = UsageRecord { event_time: None, ..record.clone() };
            let mut usage = world.clients.usage.clone();
            tasks.spawn(async move {
                let records = vec![malformed, record];
                let answer = usage.ingest_batch(UsageServiceIngestBatchRequest { records }).await.unwrap();
                (pair, answer.into_inner())
            });
        }
    }
    let mut answers: Vec<Vec<UsageServiceIngestBatchResponse>> = vec![Vec::new(); PAIRS];
    while let Some(done) = tasks.join_next().await {
        let (pair, answer) = done.unwrap();
        answers[pair].push(answer);
    }
    for (pair, both) in answers.iter().enumerate() {
        let sum = |of: fn(&UsageServiceIngestBatchResponse) -> i32| both.iter().map(of).sum::<i32>();
        let reused = i32::from(pair % 10 == 0);
        let told = (sum(|a| a.accepted_count), sum(|a| a.duplicate_count), sum(|a| a.late_count));
        assert_eq!(told, (1, 1 - reused, 0), "{pair}: {both:?}");
        for answer in both {
            let first = &answer.refusals[0];
            assert_eq!(
                (first.index, first.reason()),
                (0, ErrorReason::RecordMalformed),
                "{pair}: {answer:?}"
            );
        }
        let second: Vec<_> = both.iter().flat_map(|answer| answer.refusals.iter().skip(1)).collect();
        assert_eq!(second.len(), usize::try_from(reused).unwrap(), "{pair}: {both:?}");
        assert!(
            second.iter().all(|refusal| (refusal.index, refusal.reason()) == (1, ErrorReason::EventIdReused))
        );
    }
    let mut admin = world.scratch.admin().await.unwrap();
    let counted: i64 = sqlx::query_scalar("select count(*) from workspace.usage_records")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(counted, i64::try_from(PAIRS).unwrap());
}

/// A writer that waits for a lock keeps nobody else waiting, however few they are: somebody holds the fence of one day, and usage of the next is taken.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_lock_of_one_day_keeps_no_other_waiting() {
    let world = World::new().await.unwrap();
    let own = world.customer("patient").await.unwrap();
    let next = own.day.plus_days(1);
    world.clients.advance_to(next.start() + Duration::hours(2)).await.unwrap();
    let send = |day: UsageDate| {
        let time = day.start() + Duration::HOUR;
        let record = own.journey.record(own.workspace(), &day.to_string(), time, ("pv", "", "1"));
        let mut usage = world.clients.usage.clone();
        let request = UsageServiceIngestBatchRequest { records: vec![record] };
        tokio::spawn(async move { usage.ingest_batch(request).await.unwrap().into_inner().accepted_count })
    };
    let mut admin = world.scratch.admin().await.unwrap();
    let mut tx = admin.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(3489, $1)")
        .bind(own.day.date().to_julian_day())
        .execute(&mut *tx)
        .await
        .unwrap();
    let blocked = send(own.day);
    // The writer is there, and waits.
    loop {
        let waiting =
            "select count(*) from pg_locks where locktype = 'advisory' and classid = 3489 and not granted";
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut *tx).await.unwrap();
        if count > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(send(next).await.unwrap(), 1);
    assert!(!blocked.is_finished());
    tx.rollback().await.unwrap();
    assert_eq!(blocked.await.unwrap(), 1);
    world.reconcile().await.unwrap();
}
