//! `workspace.sealed_days` and `workspace.sealed_lines`: inserted once, never changed.

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, WorkspaceId};
use chassis::site::SiteClass;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::daily_usage::DailyLine;
use crate::domain::sealed_day::SealedDay;

/// Inserts a day, measured here, or brought from a source.
pub async fn insert(
    connection: &mut PgConnection,
    day: &SealedDay,
    source: Option<&str>,
    now: OffsetDateTime,
) -> sqlx::Result<()> {
    let digest = day.digest();
    sqlx::query!(
        "insert into workspace.sealed_days (workspace_id, usage_date, billing_account_id, currency, site_class, bound_at, \
         canonical, digest, sealed_at, origin, source) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $10::text is null then 'MEASURED' else 'IMPORTED' end, $10)",
        day.workspace_id.uuid(),
        day.usage_date.date(),
        day.billing_account_id.uuid(),
        day.currency.code(),
        day.site_class.word(),
        day.bound_at,
        day.canonical(),
        digest.as_slice(),
        now,
        source,
    )
    .execute(&mut *connection)
    .await?;
    let items: Vec<_> = day.lines.iter().map(|line| line.item.clone()).collect();
    let dimensions: Vec<_> = day.lines.iter().map(|line| line.dimension.clone()).collect();
    let retentions: Vec<_> = day.lines.iter().map(|line| line.retention_days).collect();
    let quantities: Vec<_> = day.lines.iter().map(|line| line.quantity).collect();
    // The month's sums grow by what is written, in the same statement.
    sqlx::query!(
        "with lines as ( \
           insert into workspace.sealed_lines (workspace_id, usage_date, month, item, dimension, retention_days, quantity) \
           select $1, $2, date_trunc('month', $2::date)::date, l.* from unnest($3::text[], $4::text[], $5::integer[], $6::numeric[]) as l \
           returning month, item, dimension, retention_days, quantity \
         ) insert into workspace.sealed_months as m (workspace_id, month, item, dimension, retention_days, quantity) \
         select $1, month, item, dimension, retention_days, quantity from lines order by 3, 4, 5 \
         on conflict on constraint sealed_months_pkey do update set quantity = m.quantity + excluded.quantity",
        day.workspace_id.uuid(),
        day.usage_date.date(),
        &items,
        &dimensions,
        &retentions,
        &quantities,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The digests of a day, in order of workspace id.
pub async fn digests(connection: &mut PgConnection, day: UsageDate) -> sqlx::Result<Vec<Vec<u8>>> {
    sqlx::query_scalar!(
        "select digest from workspace.sealed_days where usage_date = $1 and origin = 'MEASURED' order by workspace_id",
        day.date(),
    )
    .fetch_all(connection)
    .await
}

/// The digest of a workspace's sealed day.
pub async fn digest(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    day: UsageDate,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "select digest from workspace.sealed_days where workspace_id = $1 and usage_date = $2",
        workspace_id.uuid(),
        day.date(),
    )
    .fetch_optional(connection)
    .await
}

/// Where a page of sealed days ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The payer.
    pub billing_account_id: BillingAccountId,
    /// When it was bound.
    pub bound_at: OffsetDateTime,
    /// The workspace.
    pub workspace_id: WorkspaceId,
}

/// Sealed days with their digests, in order of payer, binding and workspace.
pub async fn list(
    connection: &mut PgConnection,
    day: UsageDate,
    after: Option<Cursor>,
    limit: i64,
) -> sqlx::Result<Vec<(SealedDay, Vec<u8>)>> {
    let rows = sqlx::query!(
        "select workspace_id, billing_account_id, currency, site_class, bound_at, digest from workspace.sealed_days \
         where usage_date = $1 and origin = 'MEASURED' and ($2::uuid is null or (billing_account_id, bound_at, workspace_id) > ($2, $3, $4)) \
         order by billing_account_id, bound_at, workspace_id limit $5",
        day.date(),
        after.map(|cursor| cursor.billing_account_id.uuid()),
        after.map(|cursor| cursor.bound_at),
        after.map(|cursor| cursor.workspace_id.uuid()),
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.workspace_id).collect();
    let mut lines = lines(connection, day, &ids).await?;
    let mut days = Vec::with_capacity(rows.len());
    for row in rows {
        let corrupt = |problem: &str| Corrupt::new("sealed_days", row.workspace_id, problem);
        let sealed = SealedDay {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            usage_date: day,
            billing_account_id: BillingAccountId::from_uuid(row.billing_account_id),
            currency: row.currency.parse().map_err(|_| corrupt("currency"))?,
            site_class: SiteClass::from_word(&row.site_class).map_err(|_| corrupt("site_class"))?,
            bound_at: row.bound_at,
            lines: lines.remove(&row.workspace_id).unwrap_or_default(),
        };
        days.push((sealed, row.digest));
    }
    Ok(days)
}

async fn lines(
    connection: &mut PgConnection,
    day: UsageDate,
    ids: &[Uuid],
) -> sqlx::Result<std::collections::HashMap<Uuid, Vec<DailyLine>>> {
    let rows = sqlx::query!(
        "select workspace_id, item, dimension, retention_days, quantity from workspace.sealed_lines \
         where usage_date = $1 and workspace_id = any($2) order by workspace_id, item, dimension, retention_days",
        day.date(),
        ids,
    )
    .fetch_all(connection)
    .await?;
    let mut lines: std::collections::HashMap<Uuid, Vec<DailyLine>> = std::collections::HashMap::new();
    for row in rows {
        lines.entry(row.workspace_id).or_default().push(DailyLine {
            item: row.item,
            dimension: row.dimension,
            retention_days: row.retention_days,
            quantity: row.quantity,
        });
    }
    Ok(lines)
}

/// How many days of workspaces are a payer's to pay. Found by its bindings: sealed days have no index by payer.
pub async fn count_of_payer(connection: &mut PgConnection, payer: BillingAccountId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from workspace.sealed_days s where s.billing_account_id = $1 and s.origin = 'MEASURED'
             and s.workspace_id in (select b.workspace_id from workspace.bindings b where b.billing_account_id = $1)"#,
        payer.uuid(),
    )
    .fetch_one(connection)
    .await
}
