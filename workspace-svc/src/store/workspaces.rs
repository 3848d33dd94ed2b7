//! `workspace.workspaces`

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chassis::civil::UsageDate;
use chassis::failure::Corrupt;
use chassis::id::{BillingAccountId, ConsoleAccountId, WorkspaceId};
use chassis::site::Site;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::closure::{Cause, Closure, Intake};
use crate::domain::lock::{Lock, LockCause};
use crate::domain::workspace::{Language, Workspace};

struct Row {
    workspace_id: Uuid,
    owner_console_account_id: Uuid,
    name: String,
    site: String,
    language: String,
    commercial_from: Option<OffsetDateTime>,
    lock_cause: Option<String>,
    locked_at: Option<OffsetDateTime>,
    lock_final_from: Option<OffsetDateTime>,
    lock_told_days: Option<i32>,
    lock_other_since: Option<OffsetDateTime>,
    lock_arrears_of: Option<Uuid>,
    dissolved_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for Workspace {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let corrupt = |problem: &str| Corrupt::new("workspaces", row.workspace_id, problem);
        let lock = match (row.lock_cause, row.locked_at, row.lock_final_from, row.lock_told_days) {
            (Some(cause), Some(locked_at), Some(final_from), Some(told_days)) => Some(Lock {
                cause: LockCause::from_word(&cause).ok_or_else(|| corrupt("lock_cause"))?,
                locked_at,
                final_from,
                told_days,
                other_since: row.lock_other_since,
                arrears_of: row.lock_arrears_of.map(BillingAccountId::from_uuid),
            }),
            _ => None,
        };
        Ok(Self {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            owner: ConsoleAccountId::from_uuid(row.owner_console_account_id),
            site: Site::from_word(&row.site).map_err(|_| corrupt("site"))?,
            language: Language::from_word(&row.language).ok_or_else(|| corrupt("language"))?,
            name: row.name,
            commercial_from: row.commercial_from,
            lock,
            dissolved_at: row.dissolved_at,
            created_at: row.created_at,
        })
    }
}

pub async fn insert(connection: &mut PgConnection, workspace: &Workspace) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into workspace.workspaces (workspace_id, owner_console_account_id, name, site, language, commercial_from, \
         created_at) values ($1, $2, $3, $4, $5, $6, $7)",
        workspace.workspace_id.uuid(),
        workspace.owner.uuid(),
        workspace.name,
        workspace.site.word(),
        workspace.language.word(),
        workspace.commercial_from,
        workspace.created_at,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub async fn get(connection: &mut PgConnection, id: WorkspaceId) -> sqlx::Result<Option<Workspace>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, language, commercial_from, lock_cause, locked_at, lock_final_from, \
         lock_told_days, lock_other_since, lock_arrears_of, dissolved_at, created_at \
         from workspace.workspaces where workspace_id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Workspace::try_from).transpose()?)
}

pub async fn get_for_update(
    connection: &mut PgConnection,
    id: WorkspaceId,
) -> sqlx::Result<Option<Workspace>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, language, commercial_from, lock_cause, locked_at, lock_final_from, \
         lock_told_days, lock_other_since, lock_arrears_of, dissolved_at, created_at \
         from workspace.workspaces where workspace_id = $1 for update",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Workspace::try_from).transpose()?)
}

/// Which workspaces a list is of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Only those of this owner.
    pub owner: Option<ConsoleAccountId>,
    /// Only those that this account pays for at the moment, or will.
    pub payer: Option<(BillingAccountId, OffsetDateTime)>,
}

pub async fn list(
    connection: &mut PgConnection,
    filter: Filter,
    after: Option<WorkspaceId>,
    limit: i64,
) -> sqlx::Result<Vec<Workspace>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, language, commercial_from, lock_cause, locked_at, lock_final_from, \
         lock_told_days, lock_other_since, lock_arrears_of, dissolved_at, created_at \
         from workspace.workspaces w where ($1::uuid is null or workspace_id > $1) \
           and ($3::uuid is null or owner_console_account_id = $3) \
           and ($4::uuid is null or exists (select 1 from workspace.bindings b where b.workspace_id = w.workspace_id \
             and b.billing_account_id = $4 and (b.effective_until is null or b.effective_until > $5))) \
         order by workspace_id limit $2",
        after.map(WorkspaceId::uuid),
        limit,
        filter.owner.map(ConsoleAccountId::uuid),
        filter.payer.map(|(payer, _)| payer.uuid()),
        filter.payer.map(|(_, now)| now),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Workspace::try_from(row)?)).collect()
}

/// What decides whether usage is taken, by workspace.
pub type Intakes = HashMap<WorkspaceId, Arc<Intake>, foldhash::fast::RandomState>;

/// What decides whether usage of a workspace is taken, as it is at a moment.
#[derive(Debug, Clone)]
pub struct State {
    /// What decides.
    pub intake: Arc<Intake>,
    /// Another one as soon as anything of it is.
    pub fingerprint: Uuid,
}

/// What decides whether usage of each of these is taken; one that is not there is not in the answer.
pub async fn intakes(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Intakes> {
    Ok(hold_intakes(connection, &BTreeSet::new(), ids).await?.1)
}

/// Holds the fences of days, as `day_fences::hold_open` does, and then looks: which of the days are closed, and what decides whether usage of these
/// workspaces is taken.
pub async fn hold_intakes(
    connection: &mut PgConnection,
    days: &BTreeSet<UsageDate>,
    ids: &[Uuid],
) -> sqlx::Result<(HashSet<UsageDate>, Intakes)> {
    let dates: Vec<time::Date> = days.iter().map(|day| day.date()).collect();
    let rows = sqlx::query_as!(
        IntakeRow,
        "select closed_date, workspace_id, site, created_at, commercial_from, cause, currency, period_from, period_until \
         from workspace.hold_intakes($1, $2)",
        &dates,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let closed = days
        .iter()
        .filter(|day| rows.iter().any(|row| row.closed_date == Some(day.date())))
        .copied()
        .collect();
    Ok((closed, read_intakes(rows)?))
}

struct IntakeRow {
    closed_date: Option<time::Date>,
    workspace_id: Option<Uuid>,
    site: Option<String>,
    created_at: Option<OffsetDateTime>,
    commercial_from: Option<OffsetDateTime>,
    cause: Option<String>,
    currency: Option<String>,
    period_from: Option<OffsetDateTime>,
    period_until: Option<OffsetDateTime>,
}

fn read_intakes(rows: Vec<IntakeRow>) -> sqlx::Result<Intakes> {
    let mut intakes: HashMap<WorkspaceId, Intake, foldhash::fast::RandomState> = HashMap::default();
    for row in rows {
        let Some(workspace_id) = row.workspace_id else { continue };
        let corrupt = |problem: &str| Corrupt::new("workspaces", workspace_id, problem);
        let site = row.site.and_then(|site| Site::from_word(&site).ok()).ok_or_else(|| corrupt("site"))?;
        let created_at = row.created_at.ok_or_else(|| corrupt("created_at"))?;
        let intake = intakes.entry(WorkspaceId::from_uuid(workspace_id)).or_insert_with(|| Intake {
            created_at,
            commercial_from: row.commercial_from,
            closures: Vec::new(),
            site_class: site.class(),
            payers: Vec::new(),
        });
        let Some(from) = row.period_from else { continue };
        if let Some(cause) = row.cause {
            let cause = Cause::from_word(&cause).ok_or_else(|| corrupt("cause of a closure"))?;
            intake.closures.push(Closure { cause, from, until: row.period_until });
        }
        if let Some(currency) = row.currency {
            let currency = currency.parse().map_err(|_| corrupt("currency of a binding"))?;
            intake.payers.push((from, row.period_until, currency));
        }
    }
    Ok(intakes.into_iter().map(|(id, intake)| (id, Arc::new(intake))).collect())
}

/// What decides whether usage of these is taken, and its fingerprints, both of one moment; one that is not there is not in the answer.
pub async fn list_states(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, State)>> {
    let rows = sqlx::query!(
        r#"select state as "state!", workspace_id as "workspace_id!", site, created_at, commercial_from, cause, currency, period_from,
             period_until from workspace.list_intakes($1)"#,
        ids,
    )
    .fetch_all(connection)
    .await?;
    let fingerprints: HashMap<Uuid, Uuid> = rows.iter().map(|row| (row.workspace_id, row.state)).collect();
    let of_intakes = rows.into_iter().map(|row| IntakeRow {
        closed_date: None,
        workspace_id: Some(row.workspace_id),
        site: row.site,
        created_at: row.created_at,
        commercial_from: row.commercial_from,
        cause: row.cause,
        currency: row.currency,
        period_from: row.period_from,
        period_until: row.period_until,
    });
    let intakes = read_intakes(of_intakes.collect())?;
    let state = |(id, fingerprint)| {
        let intake = intakes.get(&WorkspaceId::from_uuid(id))?;
        Some((id, State { intake: Arc::clone(intake), fingerprint }))
    };
    Ok(fingerprints.into_iter().filter_map(state).collect())
}

/// Several, in no order; one that is not there is not in the answer.
pub async fn list_of_many(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Workspace>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, owner_console_account_id, name, site, language, commercial_from, lock_cause, locked_at, lock_final_from, \
         lock_told_days, lock_other_since, lock_arrears_of, dissolved_at, created_at \
         from workspace.workspaces where workspace_id = any($1)",
        ids,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Workspace::try_from(row)?)).collect()
}

/// Those that were commercial at a moment of a day at which they were not closed, have no sealed day yet and have not failed, in order of id.
pub async fn list_unsealed(
    connection: &mut PgConnection,
    day: time::Date,
    (day_start, day_end): (OffsetDateTime, OffsetDateTime),
    limit: i64,
) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from workspace.workspaces w where commercial_from < $2 \
         and not exists (select 1 from workspace.sealed_days s where s.workspace_id = w.workspace_id and s.usage_date = $1) \
         and not exists (select 1 from workspace.seal_failures f where f.workspace_id = w.workspace_id and f.usage_date = $1) \
         and not coalesce((select range_agg(tstzrange(c.closed_from, c.closed_until)) \
             @> tstzrange(greatest(w.commercial_from, $4), $2) \
           from workspace.closures c where c.workspace_id = w.workspace_id), false) \
         order by workspace_id limit $3",
        day,
        day_end,
        limit,
        day_start,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

pub async fn update_commercial_from(
    connection: &mut PgConnection,
    id: WorkspaceId,
    from: OffsetDateTime,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.workspaces set commercial_from = $2 where workspace_id = $1 and commercial_from is null",
        id.uuid(),
        from,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Its name, language and owner.
pub async fn update_description(connection: &mut PgConnection, workspace: &Workspace) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.workspaces set name = $2, language = $3, owner_console_account_id = $4 where workspace_id = $1",
        workspace.workspace_id.uuid(),
        workspace.name,
        workspace.language.word(),
        workspace.owner.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_lock(
    connection: &mut PgConnection,
    id: WorkspaceId,
    lock: Option<Lock>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.workspaces set lock_cause = $2, locked_at = $3, lock_final_from = $4, lock_told_days = $5, \
         lock_other_since = $6, lock_arrears_of = $7 where workspace_id = $1",
        id.uuid(),
        lock.map(|lock| lock.cause.word()),
        lock.map(|lock| lock.locked_at),
        lock.map(|lock| lock.final_from),
        lock.map(|lock| lock.told_days),
        lock.and_then(|lock| lock.other_since),
        lock.and_then(|lock| lock.arrears_of).map(BillingAccountId::uuid),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn update_dissolved_at(
    connection: &mut PgConnection,
    id: WorkspaceId,
    dissolved_at: Option<OffsetDateTime>,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.workspaces set dissolved_at = $2 where workspace_id = $1",
        id.uuid(),
        dissolved_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Locked ones that are not dissolved, oldest lock first, whose owner was not told of the last day yet.
pub async fn list_locked(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from workspace.workspaces where locked_at is not null and dissolved_at is null \
         and lock_told_days < 14 order by random() limit $1",
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// Whether a console account owns a workspace that is not gone for good.
pub async fn owns_any(
    connection: &mut PgConnection,
    owner: ConsoleAccountId,
    gone_before: OffsetDateTime,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from workspace.workspaces where owner_console_account_id = $1
             and (dissolved_at is null or dissolved_at > $2)) as "exists!""#,
        owner.uuid(),
        gone_before,
    )
    .fetch_one(connection)
    .await
}

/// Takes back an upgrade that has not come yet.
pub async fn clear_commercial_from(connection: &mut PgConnection, id: WorkspaceId) -> sqlx::Result<()> {
    sqlx::query!("update workspace.workspaces set commercial_from = null where workspace_id = $1", id.uuid())
        .execute(connection)
        .await
        .map(drop)
}

/// The workspaces that a payer pays for at a moment, with no end in sight, in order of id.
pub async fn list_paid_by(
    connection: &mut PgConnection,
    payer: BillingAccountId,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from workspace.bindings where billing_account_id = $1 and effective_from <= $2 \
         and effective_until is null order by workspace_id",
        payer.uuid(),
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// The workspaces that are locked for a payer's arrears, in order of id.
pub async fn list_locked_for(
    connection: &mut PgConnection,
    payer: BillingAccountId,
) -> sqlx::Result<Vec<WorkspaceId>> {
    let ids = sqlx::query_scalar!(
        "select workspace_id from workspace.workspaces where lock_arrears_of = $1 order by workspace_id",
        payer.uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}
