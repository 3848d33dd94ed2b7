//! Batches of many callers are committed together; each hears of its own records, and nothing is counted twice.

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
