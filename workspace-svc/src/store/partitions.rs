//! Daily partitions of `workspace.usage_records`.

use chassis::civil::UsageDate;
use sqlx::PgConnection;

/// Makes the partition of a day unless it is there.
pub async fn make(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<()> {
    sqlx::query!("select workspace.make_usage_partition($1)", day.date()).execute(connection).await.map(drop)
}
