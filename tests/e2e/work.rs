//! What did not arrive: operators see it in every service, have it tried again, and park it.

use prost::Message as _;
use sqlx::AssertSqlSafe;
use tallystick_proto::account::v1::{
    MailParameter, MailTemplate, NotificationServiceSendRequest, RegistrationServiceGetRequest,
};
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

/// Waits until a piece of account-svc's work is in this state, and answers it.
async fn until(world: &World, work_id: &str, state: State) -> Work {
    let wait = async {
        loop {
            let found = list(world, 0, state).await;
            if let Some(work) = found.into_iter().find(|work| work.work_id == work_id) {
                return work;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{work_id} is not {state:?}"))
}

/// What account-svc does by itself is seen, tried again and parked like what it hands on.
#[tokio::test(flavor = "multi_thread")]
async fn mails_and_registrations_that_are_stuck_are_seen_and_go_on() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("stuck").await.unwrap();
    let other = world.customer("stranger").await.unwrap();
    let mut works = world.clients.works[0].clone();
    let mut admin = world.scratch.admin().await.unwrap();
    // A mail that a server refused for good.
    let mail = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0700);
    sqlx::query(
        "insert into account.mails (mail_id, account_id, template, language, parameters, state, parked_at, attempts, last_error, \
         created_at) values ($1, $2, 'UNLOCKED', 'EN', '{\"workspace\": \"Late\"}', 'PARKED', now(), 3, '550', now())",
    )
    .bind(mail)
    .bind(own.payer())
    .execute(&mut admin)
    .await
    .unwrap();
    let mail_id = format!("mail/{mail}");
    let parked = until(&world, &mail_id, State::Parked).await;
    assert_eq!((parked.kind.as_str(), parked.attempts, parked.last_error.as_str()), ("UNLOCKED", 3, "550"));
    let retry = |work_id: &str| WorkServiceRetryRequest { work_id: work_id.to_owned() };
    let park =
        |work_id: &str| WorkServiceParkRequest { work_id: work_id.to_owned(), reason: "wrong".to_owned() };
    let same = works.park(park(&mail_id)).await.unwrap().into_inner().work.unwrap();
    assert_eq!(same, parked, "what is parked stays as it is");
    works.retry(retry(&mail_id)).await.unwrap();
    world.take_mail("stuck@example.com", "Late").await.unwrap();
    // A registration whose last step another service refuses for good: its binding was asked for with another payer.
    let change = "update account.registrations set state = 'RUNNING', completed_at = null, bound_at = null, billing_account_id = $2 \
                  where registration_id = $1";
    let uuid = |id: &str| id.split_once('_').unwrap().1.parse::<Uuid>().unwrap();
    let registration = uuid(&own.registration.registration_id);
    let set = sqlx::query(change).bind(registration).bind(uuid(other.payer()));
    assert_eq!(set.execute(&mut admin).await.unwrap().rows_affected(), 1);
    let registration_id = format!("registration/{registration}");
    let stuck = until(&world, &registration_id, State::Parked).await;
    assert!(stuck.kind == "REGISTRATION" && stuck.last_error.contains("REQUEST_ID_REUSED"), "{stuck:?}");
    let back =
        sqlx::query("update account.registrations set billing_account_id = $2 where registration_id = $1");
    back.bind(registration).bind(uuid(own.payer())).execute(&mut admin).await.unwrap();
    works.retry(retry(&registration_id)).await.unwrap();
    let get = RegistrationServiceGetRequest { registration_id: own.registration.registration_id.clone() };
    let done = async {
        loop {
            let found = world.clients.registrations.clone().get(get.clone()).await.unwrap().into_inner();
            if found.registration.unwrap().complete_time.is_some() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("it goes on when its cause is mended");
    for gone in [&mail_id, &registration_id] {
        refusal(works.retry(retry(gone)).await, "WORK_NOT_FOUND");
        refusal(works.park(park(gone)).await, "WORK_NOT_FOUND");
    }
    refusal(works.retry(retry(&format!("nothing/{mail}"))).await, "WORK_NOT_FOUND");
}

/// The list goes on from kind to kind, whatever the size of a page.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_goes_from_events_to_mails_to_registrations() {
    let world = World::without_prices().await.unwrap();
    let own = world.customer("walked").await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    for seq in 1..=2 {
        write(&world, "account", (Uuid::from_u128(5), seq), Vec::new(), true).await;
    }
    for number in 1..=2_u128 {
        let insert = "insert into account.mails (mail_id, template, language, parameters, state, parked_at, created_at) \
                      values ($1, 'UNLOCKED', 'EN', '{}', 'PARKED', now(), now())";
        sqlx::query(insert).bind(Uuid::from_u128(number)).execute(&mut admin).await.unwrap();
    }
    let stop = "update account.registrations set state = 'RUNNING', completed_at = null, parked_at = now() where console_account_id = $1";
    let account = own.registration.console_account_id.trim_start_matches("acnt_").parse::<Uuid>().unwrap();
    sqlx::query(stop).bind(account).execute(&mut admin).await.unwrap();
    for size in 1..=6 {
        let mut request =
            WorkServiceListRequest { page_size: size, state: State::Parked.into(), ..Default::default() };
        let mut walked = Vec::new();
        loop {
            let page = world.clients.works[0].clone().list(request.clone()).await.unwrap().into_inner();
            assert!(page.work.len() <= usize::try_from(size).unwrap());
            walked.extend(page.work.into_iter().map(|work| work.work_id));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let kinds: Vec<&str> = walked.iter().map(|id| id.split_once('/').unwrap().0).collect();
        assert_eq!(kinds, ["outbox", "outbox", "mail", "mail", "registration"], "{size}: {walked:?}");
    }
}
