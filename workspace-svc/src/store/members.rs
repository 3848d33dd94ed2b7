//! `workspace.members`

use chassis::failure::Corrupt;
use chassis::id::{ConsoleAccountId, WorkspaceId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::member::{Member, Role};

struct Row {
    workspace_id: Uuid,
    console_account_id: Uuid,
    role: String,
    reads_bills: bool,
    review_pending: bool,
    created_at: OffsetDateTime,
}

impl TryFrom<Row> for Member {
    type Error = Corrupt;

    fn try_from(row: Row) -> Result<Self, Corrupt> {
        let role = Role::from_word(&row.role, row.reads_bills);
        Ok(Self {
            workspace_id: WorkspaceId::from_uuid(row.workspace_id),
            console_account_id: ConsoleAccountId::from_uuid(row.console_account_id),
            role: role.ok_or_else(|| Corrupt::new("members", row.workspace_id, "role"))?,
            review_pending: row.review_pending,
            created_at: row.created_at,
        })
    }
}

/// False when it is a member already.
pub async fn insert(connection: &mut PgConnection, member: &Member) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into workspace.members (workspace_id, console_account_id, role, reads_bills, review_pending, created_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict on constraint members_pkey do nothing",
        member.workspace_id.uuid(),
        member.console_account_id.uuid(),
        member.role.word(),
        member.role.is_granted_bills(),
        member.review_pending,
        member.created_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    console_account_id: ConsoleAccountId,
) -> sqlx::Result<Option<Member>> {
    let row = sqlx::query_as!(
        Row,
        "select workspace_id, console_account_id, role, reads_bills, review_pending, created_at \
         from workspace.members where workspace_id = $1 and console_account_id = $2",
        workspace_id.uuid(),
        console_account_id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Member::try_from).transpose()?)
}

pub async fn update(connection: &mut PgConnection, member: &Member) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update workspace.members set role = $3, reads_bills = $4, review_pending = $5 \
         where workspace_id = $1 and console_account_id = $2",
        member.workspace_id.uuid(),
        member.console_account_id.uuid(),
        member.role.word(),
        member.role.is_granted_bills(),
        member.review_pending,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

pub async fn delete(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    console_account_id: ConsoleAccountId,
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from workspace.members where workspace_id = $1 and console_account_id = $2",
        workspace_id.uuid(),
        console_account_id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// In order of account id.
pub async fn list(
    connection: &mut PgConnection,
    workspace_id: WorkspaceId,
    after: Option<ConsoleAccountId>,
    limit: i64,
) -> sqlx::Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "select workspace_id, console_account_id, role, reads_bills, review_pending, created_at from workspace.members \
         where workspace_id = $1 and ($2::uuid is null or console_account_id > $2) order by console_account_id limit $3",
        workspace_id.uuid(),
        after.map(ConsoleAccountId::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(Member::try_from(row)?)).collect()
}

/// Removes an account from every workspace.
pub async fn delete_everywhere(
    connection: &mut PgConnection,
    console_account_id: ConsoleAccountId,
) -> sqlx::Result<()> {
    sqlx::query!("delete from workspace.members where console_account_id = $1", console_account_id.uuid())
        .execute(connection)
        .await
        .map(drop)
}
