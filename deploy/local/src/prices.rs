//! Loads the project's price books through `PriceBookService`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::id::derived;
use chassis::site::SiteClass;
use chassis::wire;
use tallystick_proto::billing::v1::{
    PriceBookServiceListRequest, PriceBookServicePublishRequest, PriceEntry,
};
use uuid::Uuid;

use crate::clients::Clients;

/// Every book of the file, by currency and class.
pub fn books() -> anyhow::Result<BTreeMap<(String, i32), Vec<PriceEntry>>> {
    let mut books: BTreeMap<(String, i32), Vec<PriceEntry>> = BTreeMap::new();
    let mut reader = csv::Reader::from_reader(billing_svc::PRICE_BOOKS_CSV.as_bytes());
    for (row, line) in reader.records().zip(2_u32..) {
        let row = row.with_context(|| format!("price-books.csv, line {line}"))?;
        let (key, entry) = entry(&row).with_context(|| format!("price-books.csv, line {line}"))?;
        books.entry(key).or_default().push(entry);
    }
    anyhow::ensure!(!books.is_empty(), "price-books.csv has no price");
    Ok(books)
}

fn entry(row: &csv::StringRecord) -> anyhow::Result<((String, i32), PriceEntry)> {
    let fields: Vec<&str> = row.iter().collect();
    let [_, currency, class, item, retention, unit_size, unit_of, unit_price, from, until] =
        fields.as_slice()
    else {
        anyhow::bail!("has {} columns, not 10", fields.len());
    };
    let class = SiteClass::from_word(&class.to_uppercase())?;
    let date = |text: &str| -> anyhow::Result<_> { Ok(wire::date(text.parse::<UsageDate>()?)) };
    let entry = PriceEntry {
        item: (*item).to_owned(),
        retention_days: if retention.is_empty() { 0 } else { retention.parse()? },
        unit_size: (*unit_size).to_owned(),
        unit_of: (*unit_of).to_owned(),
        unit_price: (*unit_price).to_owned(),
        start_date: Some(date(from)?),
        end_date: if until.is_empty() { None } else { Some(date(until)?) },
    };
    Ok((((*currency).to_owned(), class.to_wire()), entry))
}

/// Publishes the books that are not there. Answers how many entries there are then.
pub async fn load(clients: &Clients) -> anyhow::Result<i32> {
    let known = clients.price_books.clone().list(PriceBookServiceListRequest::default()).await?.into_inner();
    let mut count: i32 = known.price_books.iter().map(|book| book.entry_count).sum();
    for ((currency_code, site_class), entries) in books()? {
        if known
            .price_books
            .iter()
            .any(|book| book.currency_code == currency_code && book.site_class == site_class)
        {
            continue;
        }
        let request = PriceBookServicePublishRequest {
            request_id: derived(Uuid::NAMESPACE_OID, &format!("prices {currency_code} {site_class}"))
                .to_string(),
            currency_code,
            site_class,
            entries,
        };
        let book =
            clients.price_books.clone().publish(request).await?.into_inner().price_book.unwrap_or_default();
        count += book.entry_count;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_324_prices_of_the_file_are_read() {
        let books = books().unwrap();
        assert_eq!(books.len(), 4);
        assert_eq!(books.values().map(Vec::len).sum::<usize>(), 324);
    }
}
