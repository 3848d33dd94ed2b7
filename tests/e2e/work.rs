//! What did not arrive: operators see it in every service, have it tried again, and park it.

use prost::Message as _;
use sqlx::AssertSqlSafe;
use tallystick_proto::account::v1::{MailParameter, MailTemplate, NotificationServiceSendRequest};
use tallystick_proto::ops::v1::work::State;
use tallystick_proto::ops::v1::{
    Work, WorkServiceListRequest, WorkServiceListResponse, WorkServiceParkRequest, WorkServiceRetryRequest,
};
use tests::{PATIENCE, World};
use uuid::Uuid;

use crate::bindings::{id, refusal};

const SCHEMAS: [&str; 4] = ["account", "workspace", "billing", "settlement"];

/// Writes an event of a service to account-svc that is parked, or waits for ever.
async fn write(
    world: &World,
    schema: &str,
    (aggregate, seq): (Uuid, i64),
    payload: Vec<u8>,
    parked: bool,
) -> String {
    let mut admin = world.scratch.admin().await.unwrap();
    let sql = format!(
        "insert into {schema}.outbox (aggregate_id, destination, aggregate_seq, kind, payload, trace_context, created_at, \
           parked_at, next_attempt_at) \
         values ($1, 'account-svc', $2, 'Send', $3, '', now(), case when $4 then now() end, 'infinity')"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(aggregate).bind(seq).bind(payload).bind(parked);
    query.execute(&mut admin).await.unwrap();
    format!("outbox/account-svc/{aggregate}/{seq}")
}

async fn list(world: &World, service: usize, state: State) -> Vec<Work> {
    let request = WorkServiceListRequest { state: state.into(), ..Default::default() };
    world.clients.works[service].clone().list(request).await.unwrap().into_inner().work
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_work_is_seen_in_every_service_and_tried_again() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("worked").await.unwrap();
    let mut services = 0;
    for (number, schema) in SCHEMAS.iter().enumerate() {
        let aggregate = Uuid::from_u128(u128::try_from(number).unwrap() + 1);
        let work_id = write(&world, schema, (aggregate, 1), b"nonsense".to_vec(), true).await;
        let parked = list(&world, number, State::Parked).await;
        assert_eq!(parked.iter().map(|work| work.work_id.as_str()).collect::<Vec<_>>(), [work_id.as_str()]);
        assert!(parked[0].park_time.is_some() && parked[0].state() == State::Parked, "{parked:?}");
        services += 1;
    }
    assert_eq!(services, world.clients.works.len());
    // A mail that was refused once, and is sent now.
    let request = NotificationServiceSendRequest {
        request_id: id(1),
        account_id: own.payer().to_owned(),
        template: MailTemplate::Unlocked.into(),
        language: 2,
        parameters: vec![MailParameter { name: "workspace".to_owned(), value: "Retried".to_owned() }],
        workspace_id: String::new(),
    };
    let settlement = world.clients.works[3].clone();
    let aggregate = Uuid::from_u128(9);
    let work_id = write(&world, "settlement", (aggregate, 1), request.encode_to_vec(), true).await;
    let retry = WorkServiceRetryRequest { work_id: work_id.clone() };
    let retried = settlement.clone().retry(retry.clone()).await.unwrap().into_inner().work.unwrap();
    assert_eq!((retried.state(), retried.attempts), (State::Waiting, 0));
    let mail = world.take_mail("worked@example.com", "Retried").await.unwrap();
    assert!(mail.contains("unlocked"), "{mail}");
    let gone = async {
        while !list(&world, 3, State::Waiting).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what has arrived is work no more");
    refusal(settlement.clone().retry(retry).await, "WORK_NOT_FOUND");
    // What is refused for good is parked again, with what was said.
    let nonsense = list(&world, 3, State::Parked).await.remove(0);
    let retry = WorkServiceRetryRequest { work_id: nonsense.work_id.clone() };
    settlement.clone().retry(retry).await.unwrap();
    let again = async {
        loop {
            let parked = list(&world, 3, State::Parked).await;
            if parked.iter().any(|work| work.work_id == nonsense.work_id && !work.last_error.is_empty()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is parked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_parked_and_bad_input_changes_nothing() {
    let world = World::without_prices().await.unwrap();
    let works = world.clients.works[2].clone();
    let aggregate = Uuid::from_u128(5);
    for seq in 1..=3 {
        write(&world, "billing", (aggregate, seq), Vec::new(), false).await;
    }
    let work_id = format!("outbox/account-svc/{aggregate}/2");
    let park = |work_id: &str, reason: &str| WorkServiceParkRequest {
        work_id: work_id.to_owned(),
        reason: reason.to_owned(),
    };
    refusal(works.clone().park(park("mail/1", "x")).await, "FIELD_INVALID");
    refusal(works.clone().park(park(&work_id, "")).await, "FIELD_INVALID");
    refusal(works.clone().retry(WorkServiceRetryRequest { work_id: "x".to_owned() }).await, "FIELD_INVALID");
    let unknown = WorkServiceListRequest { state: 9, ..Default::default() };
    refusal(works.clone().list(unknown).await, "FIELD_INVALID");
    let missing = format!("outbox/account-svc/{aggregate}/4");
    refusal(works.clone().park(park(&missing, "x")).await, "WORK_NOT_FOUND");
    assert_eq!(list(&world, 2, State::Waiting).await.len(), 3);
    let parked = works.clone().park(park(&work_id, "the mailbox is gone")).await.unwrap().into_inner();
    let parked = parked.work.unwrap();
    assert_eq!(parked.last_error, "parked by an operator: the mailbox is gone");
    let again = works.clone().park(park(&work_id, "another reason")).await.unwrap().into_inner();
    assert_eq!(again.work.unwrap(), parked, "what is parked stays as it is");
    let mut walked = Vec::new();
    let mut request = WorkServiceListRequest { page_size: 1, ..Default::default() };
    loop {
        let page: WorkServiceListResponse = works.clone().list(request.clone()).await.unwrap().into_inner();
        walked.extend(page.work.into_iter().map(|work| (work.work_id.clone(), work.state())));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected: Vec<_> = [State::Waiting, State::Parked, State::Waiting]
        .into_iter()
        .zip(1..)
        .map(|(state, seq)| (format!("outbox/account-svc/{aggregate}/{seq}"), state))
        .collect();
    assert_eq!(walked, expected);
    request.state = State::Parked.into();
    refusal(works.clone().list(request).await, "FIELD_INVALID");
}
