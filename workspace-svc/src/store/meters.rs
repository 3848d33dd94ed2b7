//! `workspace.meters`

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use sqlx::PgConnection;

use crate::domain::meter::{Counting, DimensionKind, Meter, Meters, Reduction, Rounding, Steps};
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
    counting: String,
    measure_id: i16,
    weight: i64,
    free_quantity: i64,
    step: Option<i64>,
    rounding: Option<String>,
    minimum: i64,
}

impl TryFrom<Row> for Meter {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("meters", row.meter_id, problem);
        let data_type = match &row.data_type {
            None => None,
            Some(word) => Some(DataType::from_word(word).ok_or_else(|| corrupt("data_type"))?),
        };
        let steps = match (row.step, row.rounding.as_deref().map(Rounding::from_word)) {
            (None, None) => None,
            (Some(step), Some(Some(rounding))) => {
                Some(Steps { free: row.free_quantity, step, rounding, minimum: row.minimum })
            }
            _ => return Err(corrupt("rounding")),
        };
        Ok(Self {
            counting: Counting::from_word(&row.counting).ok_or_else(|| corrupt("counting"))?,
            measure_id: row.measure_id,
            weight: row.weight,
            steps,
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
         trial_quota, counting, measure_id, weight, free_quantity, step, rounding, minimum \
         from workspace.meters order by meter_id",
    )
    .fetch_all(connection)
    .await?;
    let meters: Result<Vec<_>, sqlx::Error> = rows.into_iter().map(|row| Ok(Meter::try_from(row)?)).collect();
    Ok(Meters(meters?))
}
