//! Publications of price books, and what workspace-svc was told of them before.

use chassis::civil::UsageDate;
use chassis::wire::date;
use sqlx::{Connection as _, PgConnection};
use tallystick_proto::billing::v1::{
    PriceBookServicePublishRequest, PriceBookServicePublishResponse, PriceEntry,
};
use tallystick_proto::common::v1::SiteClass;
use tests::{PATIENCE, World};
use time::{Date, Duration};
use tonic::Status;

use crate::bindings::refusal;

fn publication(number: u128, item: &str, from: UsageDate) -> PriceBookServicePublishRequest {
    let entry = PriceEntry {
        item: item.to_owned(),
        retention_days: 0,
        unit_size: "1".to_owned(),
        unit_of: "thing".to_owned(),
        unit_price: "1".to_owned(),
        start_date: Some(date(from)),
        end_date: None,
    };
    PriceBookServicePublishRequest {
        request_id: crate::bindings::id(number),
        currency_code: "CNY".to_owned(),
        site_class: SiteClass::China.into(),
        entries: vec![entry],
    }
}

async fn publish(
    world: &World,
    request: PriceBookServicePublishRequest,
) -> Result<PriceBookServicePublishResponse, Status> {
    world.clients.price_books.clone().publish(request).await.map(tonic::Response::into_inner)
}

/// A world at noon of this day, whose only book was published by then.
async fn published() -> (World, UsageDate) {
    let world = World::without_prices().await.unwrap();
    let day = UsageDate::of(world.clients.now().await.unwrap()).next();
    world.clients.advance_to(day.start() + Duration::hours(12)).await.unwrap();
    publish(&world, publication(1, "log", day.plus_days(-30))).await.unwrap();
    world.quiet().await.unwrap();
    (world, day)
}

/// What a process whose clock is ahead does first when it tells.
async fn tell(connection: &mut PgConnection, day: UsageDate) {
    let sql = "update billing.price_books set told_date = $1";
    let told = sqlx::query(sql).bind(day.date()).execute(connection).await.unwrap();
    assert_eq!(told.rows_affected(), 1);
}

/// The last days that billing-svc has told of, and that workspace-svc was told of.
async fn told(admin: &mut PgConnection) -> (UsageDate, UsageDate) {
    let sql = "select (select told_date from billing.price_books), (select last_date from workspace.sellable_books)";
    let (told, heard): (Date, Date) = sqlx::query_as(sql).fetch_one(admin).await.unwrap();
    (UsageDate::from_date(told).unwrap(), UsageDate::from_date(heard).unwrap())
}

/// DEC-19: usage of tomorrow that is not sold is refused already, so nothing is sold from tomorrow on any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_begins_after_the_day_that_was_told_whatever_the_clock_says() {
    let (world, today) = published().await;
    let (tomorrow, then) = (today.next(), today.plus_days(2));
    let mut admin = world.scratch.admin().await.unwrap();
    assert_eq!(told(&mut admin).await, (today, today));
    tell(&mut admin, tomorrow).await;
    let dump = world.dump().await.unwrap();
    let refused = publish(&world, publication(2, "sms", tomorrow)).await;
    let status = refusal(refused, "PRICE_BOOK_INVALID");
    assert!(format!("{status:?}").contains("entries[0]"), "{status:?}");
    assert_eq!(world.dump().await.unwrap(), dump, "a refusal leaves no trace");

    publish(&world, publication(3, "sms", then)).await.unwrap();
    world.quiet().await.unwrap();
    assert_eq!(told(&mut admin).await, (tomorrow, tomorrow), "what was told is not taken back");
    let entries = "select effective_from, told_date from billing.price_entries where item = 'sms'";
    let entry: (Date, Date) = sqlx::query_as(entries).fetch_one(&mut admin).await.unwrap();
    assert_eq!(entry, (then.date(), tomorrow.date()));
}

/// DEC-19: the row of the book decides who comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_waits_for_who_tells_and_is_judged_by_what_was_told() {
    let (world, today) = published().await;
    let mut admin = world.scratch.admin().await.unwrap();
    let mut onlooker = world.scratch.admin().await.unwrap();
    let mut telling = admin.begin().await.unwrap();
    tell(&mut telling, today.next()).await;
    let mut price_books = world.clients.price_books.clone();
    let request = publication(2, "sms", today.next());
    let publishing = tokio::spawn(async move { price_books.publish(request).await });
    let wait = async {
        loop {
            let sql = "select exists (select from pg_catalog.pg_stat_activity \
                       where datname = current_database() and wait_event_type = 'Lock')";
            let waits: bool = sqlx::query_scalar(sql).fetch_one(&mut onlooker).await.unwrap();
            if waits {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    telling.commit().await.unwrap();
    refusal(publishing.await.unwrap(), "PRICE_BOOK_INVALID");
    publish(&world, publication(3, "sms", today.plus_days(2))).await.unwrap();
}
