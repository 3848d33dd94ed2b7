//! A service's role sees its own schema and no other, and cannot rewrite what is written once.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tests::World;

const SCHEMAS: [&str; 4] = ["account", "workspace", "billing", "settlement"];

async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    result.err().and_then(|error| error.into_database_error()).and_then(|error| error.code().map(Into::into))
}

const PERMISSION_DENIED: &str = "42501";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_cannot_read_another_schema() {
    let world = World::without_prices().await.unwrap();
    let mut checked = 0;
    for schema in SCHEMAS {
        let mut own = PgConnection::connect(&world.scratch.app_url(schema)).await.unwrap();
        let tables: Vec<(String, String)> = sqlx::query_as(
            "select n.nspname::text, c.relname::text from pg_catalog.pg_class c \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = any($1) and c.relkind in ('r', 'p') and not c.relispartition",
        )
        .bind(SCHEMAS.as_slice())
        .fetch_all(&mut own)
        .await
        .unwrap();
        for (other, table) in tables {
            let refused = refusal(&mut own, &format!("select count(*) from {other}.{table}")).await;
            let expected = (other != schema).then(|| PERMISSION_DENIED.to_owned());
            assert_eq!(refused, expected, "{schema} reads {other}.{table}");
            checked += 1;
        }
        assert_eq!(
            refusal(&mut own, &format!("create table {schema}.x ()")).await.as_deref(),
            Some(PERMISSION_DENIED)
        );
        assert_eq!(refusal(&mut own, "create table public.x ()").await.as_deref(), Some(PERMISSION_DENIED));
        let unqualified = refusal(&mut own, "select count(*) from requests").await;
        assert_eq!(unqualified.as_deref(), Some("42P01"), "the search path is empty");
    }
    assert!(checked > 120, "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_bills_and_sealed_days_are_append_only_for_the_app_role() {
    let world = World::new().await.unwrap();
    local::demonstration::play(&world.clients).await.unwrap();
    world.quiet().await.unwrap();
    let append_only = [
        ("account", "audit_trail"),
        ("settlement", "transfers"),
        ("settlement", "allocations"),
        ("settlement", "payment_claims"),
        ("settlement", "vouchers"),
        ("billing", "bills"),
        ("billing", "bill_lines"),
        ("billing", "bill_settlements"),
        ("billing", "account_entries"),
        ("workspace", "sealed_days"),
        ("workspace", "sealed_lines"),
        ("workspace", "usage_records"),
    ];
    let dump = world.dump().await.unwrap();
    for (schema, table) in append_only {
        let mut own = PgConnection::connect(&world.scratch.app_url(schema)).await.unwrap();
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {schema}.{table}")))
            .fetch_one(&mut own)
            .await
            .unwrap();
        assert!(count > 0, "{schema}.{table} has nothing to protect");
        let column: String = sqlx::query_scalar(
            "select attname::text from pg_catalog.pg_attribute where attrelid = $1::regclass and attnum = 1",
        )
        .bind(format!("{schema}.{table}"))
        .fetch_one(&mut own)
        .await
        .unwrap();
        for sql in [
            format!("update {schema}.{table} set {column} = {column}"),
            format!("delete from {schema}.{table}"),
            format!("truncate {schema}.{table}"),
        ] {
            assert_eq!(refusal(&mut own, &sql).await.as_deref(), Some(PERMISSION_DENIED), "{sql}");
        }
    }
    assert_eq!(world.dump().await.unwrap(), dump);
}

/// REG-5: no service can move an account or a workspace to another site, nor change what a billing account is known by.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_is_known_by_cannot_be_changed() {
    let world = World::without_prices().await.unwrap();
    for (schema, change) in [
        ("account", "account.console_accounts set site = 'CN2_NINGXIA'"),
        ("account", "account.billing_accounts set username = 'other'"),
        ("account", "account.billing_accounts set currency = 'USD'"),
        ("workspace", "workspace.workspaces set site = 'CN2_NINGXIA'"),
    ] {
        let mut own = PgConnection::connect(&world.scratch.app_url(schema)).await.unwrap();
        let refused = refusal(&mut own, &format!("update {change}")).await;
        assert_eq!(refused.as_deref(), Some(PERMISSION_DENIED), "{change}");
    }
}
