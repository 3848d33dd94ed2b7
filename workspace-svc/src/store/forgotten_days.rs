//! Days that are forgotten in `workspace.usage_sources`, `workspace.trial_usage`, `workspace.usage_suspects` and `workspace.usage_points`. The database says
//! which days those are, by its own clock.

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use sqlx::PgConnection;

/// The oldest day of which something can be forgotten.
pub async fn next(connection: &mut PgConnection) -> sqlx::Result<Option<UsageDate>> {
    let day = sqlx::query_scalar!("select workspace.next_day_to_forget()").fetch_one(connection).await?;
    let Some(day) = day else { return Ok(None) };
    UsageDate::from_date(day).map(Some).map_err(|error| Corrupt::new("day_fences", day, error).into())
}

/// Forgets so many rows of a day at most; answers how many.
pub async fn forget(connection: &mut PgConnection, day: UsageDate, rows_max: i32) -> sqlx::Result<i32> {
    sqlx::query_scalar!(r#"select workspace.forget_usage($1, $2) as "forgotten!""#, day.date(), rows_max)
        .fetch_one(connection)
        .await
}
