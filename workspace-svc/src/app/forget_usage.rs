//! Forgets what is known of old days beside records, keys and hours: how their items were fed, what trials had used, suspects, and points. Never more than
//! some rows at a time, and nobody waits for it. The database says which days are old enough, and refuses every other.

use super::App;
use crate::store;

/// Rows that go in one transaction at most.
const ROWS_MAX: i32 = 5_000;

/// Forgets rows of the oldest day of which something can be forgotten; answers how many.
pub async fn forget_usage(app: &App) -> sqlx::Result<i32> {
    let mut connection = app.pool.acquire().await?;
    let Some(day) = store::forgotten_days::next(&mut connection).await? else { return Ok(0) };
    store::forgotten_days::forget(&mut connection, day, ROWS_MAX).await
}

#[cfg(test)]
mod tests {
    use crate::app::drop_partitions::{HOURS_KEPT_DAYS, RECORDS_KEPT_DAYS};

    /// DEC-73: what goes by rows is kept as long as what goes by partitions.
    #[test]
    fn the_database_keeps_usage_for_as_many_days_as_the_service() {
        let migration = include_str!("../../migrations/0013_forget.sql");
        for days in [RECORDS_KEPT_DAYS, HOURS_KEPT_DAYS] {
            assert_eq!(migration.matches(&format!("today - {days}")).count(), 2, "{days}");
        }
        assert_eq!(migration.matches("today - ").count(), 4);
    }
}
