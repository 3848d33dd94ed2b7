//! workspace-svc: is told what each book sells, through the outbox, so that it refuses usage of what is not (DEC-19).

use chassis::civil::UsageDate;
use chassis::outbox::{Event, Undelivered, undelivered};
use chassis::peer::PeerChannel;
use chassis::wire;
use prost::Message as _;
use tallystick_proto::workspace::v1::usage_service_client::UsageServiceClient;
use tallystick_proto::workspace::v1::{SellableItem, UsageServiceSetSellableItemsRequest};
use uuid::Uuid;

use crate::domain::price_book::{PriceBook, PriceEntry};

/// The service that events of this kind are for.
pub const DESTINATION: &str = "workspace-svc";
const SET: &str = "SetSellableItems";

/// The client.
#[derive(Clone)]
pub struct Sellables(UsageServiceClient<PeerChannel>);

/// Usage that is older is not taken any more, whatever is sold.
const TOLD_BACK_DAYS: i64 = 40;

/// What is sold from when to when, of entries in order of item, retention and day: a price that follows another one goes on selling. Without what ended long
/// ago.
fn sold(entries: &[PriceEntry], today: UsageDate) -> Vec<SellableItem> {
    let matters =
        |until: Option<UsageDate>| until.is_none_or(|until| until > today.plus_days(-TOLD_BACK_DAYS));
    let follows = |one: &PriceEntry, next: &PriceEntry| {
        one.item == next.item
            && one.retention_days == next.retention_days
            && one.effective_until == Some(next.effective_from)
    };
    let item = |run: &[PriceEntry]| {
        let (first, last) = run.first().zip(run.last()).filter(|(_, last)| matters(last.effective_until))?;
        Some(SellableItem {
            item: first.item.clone(),
            retention_days: first.retention_days,
            start_date: Some(wire::date(first.effective_from)),
            end_date: last.effective_until.map(wire::date),
        })
    };
    entries.chunk_by(follows).filter_map(item).collect()
}

/// A book's entries on their way, certain up to this day: a publication begins after it. The book is the aggregate: what is told of it arrives in order.
pub fn set_event(book: &PriceBook, entries: &[PriceEntry], last: UsageDate) -> Event {
    let (currency, class) = (book.key.currency.code(), book.key.site_class);
    let request = UsageServiceSetSellableItemsRequest {
        currency_code: currency.to_owned(),
        site_class: class.to_wire(),
        version: book.version,
        items: sold(entries, last),
        last_date: Some(wire::date(last)),
    };
    let name = format!("price book {currency} {}", class.word());
    Event {
        destination: DESTINATION,
        aggregate_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
        kind: SET,
        payload: request.encode_to_vec(),
    }
}

impl Sellables {
    /// Over this channel.
    pub fn new(channel: PeerChannel) -> Self {
        Self(UsageServiceClient::new(channel))
    }

    /// Takes an event there.
    pub async fn deliver(&self, kind: &str, payload: &[u8]) -> Result<(), Undelivered> {
        if kind != SET {
            return Err(Undelivered::Never(format!("no such event: {kind}")));
        }
        let request = UsageServiceSetSellableItemsRequest::decode(payload);
        let request = request.map_err(|error| Undelivered::Never(error.to_string()))?;
        self.0.clone().set_sellable_items(request).await.map(drop).map_err(|status| undelivered(&status))
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    /// DEC-19: a change of price does not end the sale; a gap does.
    #[test]
    fn prices_that_follow_each_other_are_one_sale() {
        let entry = |item: &str, from: &str, until: Option<&str>| PriceEntry {
            item: item.to_owned(),
            retention_days: 7,
            unit_size: Decimal::ONE,
            unit_of: "thing".to_owned(),
            unit_price: Decimal::ONE,
            effective_from: from.parse().unwrap(),
            effective_until: until.map(|day| day.parse().unwrap()),
        };
        let entries = [
            entry("log", "2026-01-01", Some("2026-02-01")),
            entry("log", "2026-02-01", Some("2026-03-01")),
            entry("log", "2026-04-01", None),
            entry("sms", "2026-01-01", Some("2026-02-28")),
            entry("sms", "2026-04-01", None),
        ];
        let day = |text: &str| Some(wire::date(text.parse::<UsageDate>().unwrap()));
        let sold: Vec<_> = sold(&entries, "2026-04-09".parse().unwrap())
            .into_iter()
            .map(|item| (item.item, item.start_date, item.end_date))
            .collect();
        let expected = [
            ("log".to_owned(), day("2026-01-01"), day("2026-03-01")),
            ("log".to_owned(), day("2026-04-01"), None),
            ("sms".to_owned(), day("2026-04-01"), None),
        ];
        assert_eq!(sold, expected);
    }
}
