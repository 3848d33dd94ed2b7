//! `workspace.meters`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use sqlx::PgConnection;

use crate::domain::meter::{DimensionKind, Meter, Meters, Reduction};
use crate::domain::retention::DataType;

struct Row {
    meter_id: i16,
    meter: String,
    item: String,
    reduction: String,
    divisor: i64,
    data_type: Option<String>,
    dimension_kind: String,
    effective_from: time::Date,
    effective_until: Option<time::Date>,
    trial_quota: Option<i64>,
}

impl TryFrom<Row> for Meter {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("meters", row.meter_id, problem);
        let data_type = match &row.data_type {
            None => None,
            Some(word) => Some(DataType::from_word(word).ok_or_else(|| corrupt("data_type"))?),
        };
        Ok(Self {
            meter_id: row.meter_id,
            reduction: Reduction::from_word(&row.reduction).ok_or_else(|| corrupt("reduction"))?,
            dimension_kind: DimensionKind::from_word(&row.dimension_kind)
                .ok_or_else(|| corrupt("dimension_kind"))?,
            effective_from: UsageDate::from_date(row.effective_from)
                .map_err(|_| corrupt("effective_from"))?,
            effective_until: row
                .effective_until
                .map(UsageDate::from_date)
                .transpose()
                .map_err(|_| corrupt("effective_until"))?,
            meter: row.meter,
            item: row.item,
            divisor: row.divisor,
            data_type,
            trial_quota: row.trial_quota,
        })
    }
}

pub async fn list(connection: &mut PgConnection) -> sqlx::Result<Meters> {
    let rows = sqlx::query_as!(
        Row,
        "select meter_id, meter, item, reduction, divisor, data_type, dimension_kind, effective_from, effective_until, \
         trial_quota \
         from workspace.meters order by meter_id",
    )
    .fetch_all(connection)
    .await?;
    let meters: Result<Vec<_>, sqlx::Error> = rows.into_iter().map(|row| Ok(Meter::try_from(row)?)).collect();
    Ok(Meters(meters?))
}
