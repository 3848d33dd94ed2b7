//! A workspace that cannot be sealed is listed, holds back no other, and is sealed and billed once it can be.

use std::collections::BTreeSet;

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;
use chassis::status::metadata_of;
use chassis::wire::date;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tallystick_proto::workspace::v1::binding_service_client::BindingServiceClient;
use tallystick_proto::workspace::v1::seal_failure::Reason;
use tallystick_proto::workspace::v1::usage_service_stream_sealed_days_response::Part;
use tallystick_proto::workspace::v1::{
    BindingServiceRetireRequest, BindingServiceUnbindRequest, SealFailure,
    UsageServiceListSealFailuresRequest, UsageServiceStreamSealedDaysRequest,
};
use tests::{PATIENCE, Settled, World};
use time::Duration;

use crate::bindings::{id, refusal};
use crate::sessions::{channel, with_token};

/// Another customer, a minute after the first one's first day has begun: it is commercial from 01:00 on.
async fn beside(world: &World, first: &Settled, name: &str) -> Settled {
    let journey = world.journey(name);
    let registration = journey.register().await.unwrap();
    Settled { journey, registration, day: first.day }
}

/// Each uses something at 01:30 of the day, and the day has ended.
async fn use_and_end(world: &World, customers: &[&Settled], usage: (&str, &str, &str)) {
    let day = customers[0].day;
    world.clients.advance_to(day.start() + Duration::hours(3)).await.unwrap();
    for customer in customers {
        customer.journey.ingest(vec![customer.record("in time", 90, usage)]).await.unwrap();
    }
    world.clients.advance_to(day.end() + Duration::minutes(61)).await.unwrap();
    world.quiet().await.unwrap();
}

/// What no call can do: a statement of an administrator, about one workspace.
async fn meddle(world: &World, statement: &'static str, customer: &Settled) {
    let id: WorkspaceId = customer.workspace().parse().unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    sqlx::query(statement).bind(id.uuid()).execute(&mut admin).await.unwrap();
}

/// Keeps bindings and policies, for those that are taken away.
async fn keep(world: &World) {
    let mut admin = world.scratch.admin().await.unwrap();
    for statement in [
        "create table workspace.kept_bindings as select * from workspace.bindings",
        "create table workspace.kept_policies as select * from workspace.retention_policies",
    ] {
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
}

const TAKE_PAYER: &str = "delete from workspace.bindings where workspace_id = $1";
const GIVE_PAYER: &str =
    "insert into workspace.bindings select * from workspace.kept_bindings where workspace_id = $1";
const TAKE_POLICIES: &str = "delete from workspace.retention_policies where workspace_id = $1";
const GIVE_POLICIES: &str =
    "insert into workspace.retention_policies select * from workspace.kept_policies where workspace_id = $1";
const MAKE_HUGE: &str = "update workspace.hourly_usage set in_time_sum = 2e28 where workspace_id = $1";
const MAKE_UNREADABLE: &str = "update workspace.hourly_usage set in_time_sum = 1e40 where workspace_id = $1";
const MAKE_FRACTION: &str = "update workspace.hourly_usage set in_time_sum = 0.001 where workspace_id = $1";
const MAKE_RIGHT: &str = "update workspace.hourly_usage set in_time_sum = sum where workspace_id = $1";

async fn failures(world: &World, day: UsageDate) -> Vec<SealFailure> {
    let request = UsageServiceListSealFailuresRequest { usage_date: Some(date(day)), ..Default::default() };
    world.clients.usage.clone().list_seal_failures(request).await.unwrap().into_inner().seal_failures
}

/// What the manifest of a day without failures says.
async fn digest_of_days(world: &World, day: UsageDate) -> String {
    let mut admin = world.scratch.admin().await.unwrap();
    sqlx::query_scalar(
        "select encode(sha256(string_agg(digest, ''::bytea order by workspace_id)), 'hex') \
         from workspace.sealed_days where usage_date = $1",
    )
    .bind(day.date())
    .fetch_one(&mut admin)
    .await
    .unwrap()
}

/// MT-2: the day is sealed and billed without the one that cannot be, then with it, and nothing is billed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_cannot_be_sealed_holds_back_no_other_and_is_billed_once_it_can_be() {
    let world = World::new().await.unwrap();
    let own = world.customer("sound").await.unwrap();
    let (second, broken) = (beside(&world, &own, "sound-too").await, beside(&world, &own, "broken").await);
    let day = own.day;
    use_and_end(&world, &[&own, &second, &broken], ("log", "", "2000000")).await;
    keep(&world).await;
    meddle(&world, TAKE_PAYER, &broken).await;
    let manifest = own.journey.seal(day).await.unwrap();
    assert_eq!((manifest.workspace_count, manifest.failure_count), (3, 1));
    let failed = failures(&world, day).await.pop().unwrap();
    assert_eq!((failed.workspace_id.as_str(), failed.reason()), (broken.workspace(), Reason::NoPayer));
    assert!(failed.problem.contains("no billing account") && failed.tries == 1, "{failed:?}");
    let run = own.journey.run_bills(day).await.unwrap();
    assert_eq!((run.workspace_count, run.billed_count, run.failed_count), (3, 2, 1));
    let listed = own.journey.failures(&run.run_id).await.unwrap();
    assert!(listed[0].starts_with(broken.workspace()), "{listed:?}");
    assert!(listed[0].contains("NOT_SEALED NO_PAYER: "), "{listed:?}");
    for customer in [&own, &second] {
        customer.journey.settled_bill(customer.workspace(), day).await.unwrap();
    }
    assert_eq!(broken.journey.bill(broken.workspace(), day).await.unwrap(), None);
    world.reconcile().await.unwrap();

    // Tried again it fails again, and the manifest stays; the next day is sealed all the same.
    assert_eq!(own.journey.seal(day).await.unwrap(), manifest);
    assert_eq!(failures(&world, day).await[0].tries, 2);
    world.clients.advance_to(day.next().end() + Duration::MINUTE).await.unwrap();
    let next = own.journey.seal(day.next()).await.unwrap();
    assert_eq!((next.workspace_count, next.failure_count), (3, 1));

    meddle(&world, GIVE_PAYER, &broken).await;
    broken.journey.ingest(vec![broken.record("late", 91, ("log", "", "5000000"))]).await.unwrap();
    let mended = own.journey.seal(day).await.unwrap();
    assert_eq!((mended.workspace_count, mended.failure_count), (3, 0));
    assert_eq!(mended.digest, digest_of_days(&world, day).await);
    assert_ne!(mended.digest, manifest.digest);
    assert_eq!(own.journey.seal(day).await.unwrap(), mended, "it never changes again");
    assert!(failures(&world, day).await.is_empty());
    let again = world.journey("second-run").run_bills(day).await.unwrap();
    assert_eq!((again.workspace_count, again.billed_count, again.failed_count), (3, 3, 0));
    let bill = broken.journey.settled_bill(broken.workspace(), day).await.unwrap();
    assert_eq!(bill.lines[0].quantity, "2000000", "what came after the close is late");
    for customer in [&own, &second] {
        assert!(customer.journey.bill(customer.workspace(), day).await.unwrap().is_some(), "one, not two");
    }
    assert_eq!(own.journey.seal(day.next()).await.unwrap().failure_count, 0);
    world.reconcile().await.unwrap();
}

/// Rows that cannot be read, contradict each other, or are refused when they are written are of the workspace that they are of.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_listed_by_its_kind_and_gone_when_it_is_mended() {
    let world = World::new().await.unwrap();
    let own = world.customer("whole").await.unwrap();
    let huge = beside(&world, &own, "huge").await;
    let unreadable = beside(&world, &own, "unreadable").await;
    let fraction = beside(&world, &own, "fraction").await;
    let lawless = beside(&world, &own, "lawless").await;
    use_and_end(&world, &[&own, &huge, &unreadable, &fraction, &lawless], ("pv", "", "100")).await;
    keep(&world).await;
    for (statement, customer) in [
        (MAKE_HUGE, &huge),
        (MAKE_UNREADABLE, &unreadable),
        (MAKE_FRACTION, &fraction),
        (TAKE_POLICIES, &lawless),
    ] {
        meddle(&world, statement, customer).await;
    }
    let manifest = own.journey.seal(own.day).await.unwrap();
    assert_eq!((manifest.workspace_count, manifest.failure_count), (5, 4));
    let listed = failures(&world, own.day).await;
    for (customer, reason, words) in [
        (&huge, Reason::TooLarge, "pv adds up to more than is kept"),
        (&unreadable, Reason::Fault, "decoding"),
        (&fraction, Reason::Fault, "sealed_lines_quantity_check"),
        (&lawless, Reason::Fault, "no retention policy"),
    ] {
        let failed = listed.iter().find(|failed| failed.workspace_id == customer.workspace()).unwrap();
        assert!(failed.reason() == reason && failed.problem.contains(words), "{failed:?}");
        assert_eq!(failed.tries, 1);
    }
    let run = own.journey.run_bills(own.day).await.unwrap();
    assert_eq!((run.workspace_count, run.billed_count, run.failed_count), (5, 1, 4));
    world.reconcile().await.unwrap();

    meddle(&world, MAKE_RIGHT, &huge).await;
    let better = own.journey.seal(own.day).await.unwrap();
    assert_eq!((better.workspace_count, better.failure_count), (5, 3), "one is better");
    for (statement, customer) in
        [(MAKE_RIGHT, &unreadable), (MAKE_RIGHT, &fraction), (GIVE_POLICIES, &lawless)]
    {
        meddle(&world, statement, customer).await;
    }
    let mended = own.journey.seal(own.day).await.unwrap();
    assert_eq!((mended.workspace_count, mended.failure_count), (5, 0));
    assert_eq!(mended.digest, digest_of_days(&world, own.day).await);
    let again = world.journey("second-run").run_bills(own.day).await.unwrap();
    assert_eq!((again.workspace_count, again.billed_count, again.failed_count), (5, 5, 0));
    world.reconcile().await.unwrap();
}

/// The parts of a day, each with its token.
async fn read(world: &World, day: UsageDate, resume_token: &str) -> Vec<(Part, String)> {
    let request = UsageServiceStreamSealedDaysRequest {
        usage_date: Some(date(day)),
        resume_token: resume_token.to_owned(),
    };
    let mut stream = world.clients.usage.clone().stream_sealed_days(request).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        parts.push((message.part.unwrap(), message.resume_token));
    }
    parts
}

/// "manifest", or whose part it is.
fn whose(part: &Part) -> &str {
    match part {
        Part::Manifest(_) => "manifest",
        Part::SealFailure(failure) => &failure.workspace_id,
        Part::SealedDay(sealed) => &sealed.workspace_id,
    }
}

/// Failures come after the manifest, also to a reader that goes on where it was; once a workspace is sealed it comes with the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_on_is_sent_the_failures_that_are_left() {
    let world = World::new().await.unwrap();
    let own = world.customer("read").await.unwrap();
    let (second, broken) = (beside(&world, &own, "read-too").await, beside(&world, &own, "unread").await);
    use_and_end(&world, &[&own, &second, &broken], ("pv", "", "100")).await;
    keep(&world).await;
    meddle(&world, TAKE_PAYER, &broken).await;
    own.journey.seal(own.day).await.unwrap();
    let parts = read(&world, own.day, "").await;
    let order: Vec<_> = parts.iter().map(|(part, _)| whose(part)).collect();
    assert_eq!((order.len(), order[0], order[1]), (4, "manifest", broken.workspace()));
    assert_eq!(parts[1].1, "", "a token comes with a sealed day");
    let rest = read(&world, own.day, &parts[2].1).await;
    let rest: Vec<_> = rest.iter().map(|(part, _)| whose(part)).collect();
    assert_eq!(rest, ["manifest", broken.workspace(), order[3]]);
    meddle(&world, GIVE_PAYER, &broken).await;
    own.journey.seal(own.day).await.unwrap();
    let parts = read(&world, own.day, "").await;
    assert!(parts[1..].iter().all(|(part, _)| matches!(part, Part::SealedDay(_))), "{parts:?}");
    let names: BTreeSet<_> = parts[1..].iter().map(|(part, _)| whose(part)).collect();
    assert_eq!(names, BTreeSet::from([own.workspace(), second.workspace(), broken.workspace()]));
}

/// More failures than fit into a stream whose reader waits.
const WAITING: i64 = 8_000;
const FAIL_MANY: &str = "insert into workspace.seal_failures (workspace_id, usage_date, reason, problem, failed_at, tries) \
     select ('ffffffff-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, $1, 'FAULT', repeat('x', 500), now(), 1 \
     from generate_series(1, $2::bigint) as n";
/// What a try that succeeds does, with the day of another.
const SEAL_MEANWHILE: &str = "with sealed as (delete from workspace.seal_failures where workspace_id = $1 returning workspace_id, usage_date) \
     insert into workspace.sealed_days (workspace_id, usage_date, billing_account_id, currency, site_class, bound_at, canonical, digest, \
       sealed_at) select n.workspace_id, n.usage_date, d.billing_account_id, d.currency, d.site_class, d.bound_at, d.canonical, d.digest, \
       d.sealed_at from sealed n join workspace.sealed_days d using (usage_date) limit 1";

/// Neither lost nor doubled: each workspace comes once, also when one is sealed between its failure and the sealed days.
#[tokio::test(flavor = "multi_thread")]
async fn each_workspace_comes_once_though_one_is_sealed_while_the_day_is_read() {
    let world = World::new().await.unwrap();
    let own = world.customer("constant").await.unwrap();
    let broken = beside(&world, &own, "changing").await;
    use_and_end(&world, &[&own, &broken], ("pv", "", "100")).await;
    meddle(&world, TAKE_PAYER, &broken).await;
    let mut admin = world.scratch.admin().await.unwrap();
    sqlx::query(FAIL_MANY).bind(own.day.date()).bind(WAITING).execute(&mut admin).await.unwrap();
    let manifest = own.journey.seal(own.day).await.unwrap();
    assert_eq!(i64::from(manifest.failure_count), WAITING + 1);
    let request =
        UsageServiceStreamSealedDaysRequest { usage_date: Some(date(own.day)), ..Default::default() };
    let mut stream = world.clients.usage.clone().stream_sealed_days(request).await.unwrap().into_inner();
    let mut parts = vec![stream.message().await.unwrap().unwrap().part.unwrap()];
    parts.push(stream.message().await.unwrap().unwrap().part.unwrap());
    assert!(matches!(&parts[1], Part::SealFailure(failed) if failed.workspace_id == broken.workspace()));
    meddle(&world, SEAL_MEANWHILE, &broken).await;
    while let Some(message) = stream.message().await.unwrap() {
        parts.push(message.part.unwrap());
    }
    let names: BTreeSet<_> = parts.iter().map(whose).collect();
    assert_eq!(i64::try_from(parts.len()).unwrap(), 1 + i64::from(manifest.workspace_count));
    assert_eq!(names.len(), parts.len(), "none twice");
}

/// ACC-19, DEC-74: for its payer a day is not sealed as long as a workspace of its is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_not_closed_while_a_workspace_of_its_could_not_be_sealed() {
    let world = World::new().await.unwrap();
    let own = world.customer("leaving").await.unwrap();
    let unbind = BindingServiceUnbindRequest { request_id: id(1), workspace_id: own.workspace().to_owned() };
    world.clients.bindings.clone().unbind(unbind).await.unwrap();
    use_and_end(&world, &[&own], ("pv", "", "100")).await;
    meddle(&world, MAKE_HUGE, &own).await;
    own.journey.seal(own.day.plus_days(-1)).await.unwrap();
    assert_eq!(own.journey.seal(own.day).await.unwrap().failure_count, 1);
    let account_svc = world.stack.signers[0].token(&["workspace-svc"]).unwrap();
    let mut bindings = BindingServiceClient::new(channel(&world, "workspace-svc"));
    let mut retire = async || {
        let request = BindingServiceRetireRequest { account_id: own.payer().to_owned() };
        bindings.retire(with_token(request, &account_svc)).await
    };
    let status = refusal(retire().await, "CLOSING_REFUSED");
    assert_eq!(metadata_of(&status, "precondition").as_deref(), Some("DAY_NOT_SEALED"));
    meddle(&world, MAKE_RIGHT, &own).await;
    assert_eq!(own.journey.seal(own.day).await.unwrap().failure_count, 0);
    assert!(retire().await.unwrap().into_inner().sealed_day_count > 0);
}

async fn detach(service: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select workspace.detach_usage_partition($1)").bind(name).fetch_one(service).await
}

/// What a workspace is to be sealed from is kept until it is sealed, however old it is; the hours as well.
#[tokio::test(flavor = "multi_thread")]
async fn records_keys_and_hours_of_a_failed_workspace_are_kept() {
    let world = World::new().await.unwrap();
    let own = world.customer("kept").await.unwrap();
    use_and_end(&world, &[&own], ("pv", "", "100")).await;
    meddle(&world, MAKE_HUGE, &own).await;
    assert_eq!(own.journey.seal(own.day).await.unwrap().failure_count, 1);
    let mut service = PgConnection::connect(&world.scratch.app_url("workspace")).await.unwrap();
    let day = own.day.to_string().replace('-', "");
    let partitions =
        [format!("usage_records_{day}"), format!("usage_keys_{day}"), format!("hourly_usage_{}", &day[..6])];
    for name in &partitions {
        let refused = detach(&mut service, name).await.unwrap_err().into_database_error().unwrap();
        assert_eq!(refused.code().as_deref(), Some("55000"), "{name}: {refused}");
    }
    meddle(&world, MAKE_RIGHT, &own).await;
    assert_eq!(own.journey.seal(own.day).await.unwrap().failure_count, 0);
    for name in &partitions {
        detach(&mut service, name).await.unwrap();
    }
}

/// Waits until a day is sealed with so many failures.
async fn sealed_with(world: &World, day: UsageDate, failure_count: i32) {
    let mut admin = world.scratch.admin().await.unwrap();
    let wait = async {
        loop {
            let found: Option<i32> = sqlx::query_scalar(
                "select failure_count from workspace.day_fences where usage_date = $1 and state = 'SEALED'",
            )
            .bind(day.date())
            .fetch_optional(&mut admin)
            .await
            .unwrap();
            if found == Some(failure_count) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

/// MT-2: by itself as well a day is sealed without what fails; that is tried again after 10 minutes, and later days wait for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_failed_is_tried_again_by_itself_and_later_days_are_sealed() {
    let world = World::sealing().await.unwrap();
    let own = world.customer("sleeping").await.unwrap();
    let broken = beside(&world, &own, "restless").await;
    keep(&world).await;
    meddle(&world, TAKE_PAYER, &broken).await;
    world.clients.advance_to(own.day.next().end() + Duration::minutes(61)).await.unwrap();
    let world = world.restart().await.unwrap();
    for day in [own.day, own.day.next()] {
        sealed_with(&world, day, 1).await;
    }
    meddle(&world, GIVE_PAYER, &broken).await;
    let now = world.clients.now().await.unwrap();
    world.clients.advance_to(now + Duration::minutes(11)).await.unwrap();
    let world = world.restart().await.unwrap();
    for day in [own.day, own.day.next()] {
        sealed_with(&world, day, 0).await;
    }
    world.reconcile().await.unwrap();
}
