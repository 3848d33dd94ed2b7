//! Daily partitions of `workspace.usage_records`, monthly ones of `workspace.hourly_usage`.

use chassis::civil::UsageDate;
use sqlx::PgConnection;

/// Makes the partitions that usage of a day needs, unless they are there.
pub async fn make(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<()> {
    sqlx::query!("select workspace.make_usage_partition($1)", day.date()).execute(connection).await.map(drop)
}

/// The names of those of records of days before one, and of hours of months before another.
pub async fn list_old(
    connection: &mut PgConnection,
    records_before: UsageDate,
    hours_before: UsageDate,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select workspace.old_usage_partitions($1, $2) as "name!""#,
        records_before.date(),
        hours_before.date(),
    )
    .fetch_all(connection)
    .await
}

/// Detaches one. False: ingest would have had to wait.
pub async fn detach(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select workspace.detach_usage_partition($1) as "detached!""#, name)
        .fetch_one(connection)
        .await
}

/// Drops one that is detached.
pub async fn drop_detached(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query!("select workspace.drop_detached_partition($1)", name).execute(connection).await.map(drop)
}
