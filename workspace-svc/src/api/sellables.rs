//! `UsageService`: what price books sell, from billing-svc.

use chassis::civil::UsageDate;
use chassis::money::Currency;
use chassis::site::SiteClass;
use chassis::wire::Violations;
use tallystick_proto::workspace::v1::{
    SellableItem as WireItem, UsageServiceSetSellableItemsRequest, UsageServiceSetSellableItemsResponse,
};
use tonic::Status;

use crate::app::App;
use crate::app::set_sellable_items::set_sellable_items;
use crate::domain::sellable::{Book, SellableItem};

/// Items of one book, of all days.
const ITEMS_MAX: usize = 10_000;
/// Days of retention.
const RETENTION_DAYS_MAX: i32 = 3_600;

fn item(violations: &mut Violations, index: usize, wire: &WireItem) -> Option<SellableItem> {
    let field = |name: &str| format!("items[{index}].{name}");
    let item = violations.word(&field("item"), &wire.item, 1, 64);
    if wire.item.contains('-') {
        violations.add(field("item"), "must not contain \"-\"");
    }
    let effective_from = violations.date(&field("start_date"), wire.start_date.as_ref());
    let end = wire.end_date.as_ref().map(|end| violations.date(&field("end_date"), Some(end)));
    let effective_until = match end {
        None => Some(None),
        Some(end) => end.map(Some),
    };
    if !(0..=RETENTION_DAYS_MAX).contains(&wire.retention_days) {
        violations.add(field("retention_days"), format!("must be 0 to {RETENTION_DAYS_MAX}"));
    }
    let (effective_from, effective_until) = effective_from.zip(effective_until)?;
    if effective_until.is_some_and(|until| until <= effective_from) {
        violations.add(field("end_date"), "must be after start_date");
    }
    Some(SellableItem { item: item?, retention_days: wire.retention_days, effective_from, effective_until })
}

type Parsed = (Book, (i32, UsageDate), Vec<SellableItem>);

fn parsed(request: &UsageServiceSetSellableItemsRequest) -> Result<Parsed, Violations> {
    let mut violations = Violations::new();
    let currency = violations.parse::<Currency>("currency_code", &request.currency_code);
    let site_class = violations.check("site_class", SiteClass::from_wire(request.site_class));
    let last_date = violations.date("last_date", request.last_date.as_ref());
    if request.version < 1 {
        violations.add("version", "must be from 1 on");
    }
    if request.items.len() > ITEMS_MAX {
        violations.add("items", format!("must be at most {ITEMS_MAX}"));
    }
    let mut items = Vec::new();
    let mut places = std::collections::BTreeSet::new();
    for (index, wire) in request.items.iter().take(ITEMS_MAX).enumerate() {
        let Some(item) = item(&mut violations, index, wire) else { continue };
        if !places.insert((item.item.clone(), item.retention_days, item.effective_from)) {
            violations.add(format!("items[{index}]"), "is there twice");
        }
        items.push(item);
    }
    let ((currency, site_class), last_date) =
        violations.into_result(currency.zip(site_class).zip(last_date))?;
    Ok((Book { currency, site_class }, (request.version, last_date), items))
}

pub async fn set(
    app: &App,
    request: UsageServiceSetSellableItemsRequest,
) -> Result<UsageServiceSetSellableItemsResponse, Status> {
    let (book, told, items) = parsed(&request)?;
    let held = set_sellable_items(app, book, told, &items).await;
    let version = held.map_err(chassis::failure::Failure::<chassis::status::Refusal>::from)?;
    Ok(UsageServiceSetSellableItemsResponse { version })
}
