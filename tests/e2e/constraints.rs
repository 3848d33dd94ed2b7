//! The database refuses what must never be: every named constraint is violated once, and answers with its own name. A constraint
//! without a case here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tests::World;

use crate::breaches::Breach::{Copy, Set};
use crate::breaches::{ACCOUNT, BILLING, Breach, FRAME, IMPLIED, SETTLEMENT, WORKSPACE};

/// The name of the constraint that a statement breaks.
async fn broken(admin: &mut PgConnection, sql: String) -> Option<String> {
    sqlx::raw_sql("begin").execute(&mut *admin).await.unwrap();
    let result = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *admin).await;
    sqlx::raw_sql("rollback").execute(&mut *admin).await.unwrap();
    let error = result.err()?.into_database_error()?;
    error.constraint().map(str::to_owned)
}

fn statement(schema: &str, table: &str, breach: &Breach) -> String {
    match breach {
        Set(change) => format!("update {schema}.{table} set {change}"),
        Copy(change, which) => {
            let change = change.replace("\"new\"", "\"00000000-0000-7000-8000-0000000000ff\"");
            format!(
                "insert into {schema}.{table} select (jsonb_populate_record(null::{schema}.{table}, to_jsonb(t) || '{change}')).* \
                 from {schema}.{table} t where {which} limit 1"
            )
        }
    }
}

/// Rows that the demonstration leaves none of.
async fn fill(admin: &mut PgConnection) {
    for schema in ["account", "workspace", "billing", "settlement"] {
        let sql = format!(
            "insert into {schema}.outbox (aggregate_id, destination, aggregate_seq, kind, payload, trace_context, parked_at, created_at) \
             values (gen_random_uuid(), 'nobody', 1, 'x', '', '', now(), now()); \
             insert into {schema}.outbox_heads (aggregate_id, destination, last_seq) values (gen_random_uuid(), 'nobody', 1); \
             insert into {schema}.work_claims (name, holder, held_until) values ('x', gen_random_uuid(), now()); \
             insert into {schema}.requests (scope_id, caller, method, request_id, request_hash, created_at) \
             values (gen_random_uuid(), 'x', 'x', gen_random_uuid(), sha256(''), now()); \
             insert into {schema}.work_claims (name, holder, held_until) values ('ship_audit', gen_random_uuid(), 'infinity') \
             on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until; \
             insert into {schema}.audit_outbox (event_id, kind, caller, method, object_ids, occurred_at) \
             values (gen_random_uuid(), 'CALL', 'x', 'x', '{{}}', now())"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *admin).await.unwrap();
    }
    let session = "with s as (insert into account.sessions (session_id, account_id, created_at) \
                   values (gen_random_uuid(), 'acnt_' || gen_random_uuid(), now()) returning session_id), \
                   t as (insert into account.sign_in_tries (identity_hash, since, wrong_count) values (sha256(''), now(), 1)) \
                   insert into account.refresh_tokens (token_hash, session_id, issued_at, expires_at) \
                   select sha256(''), session_id, now(), now() + interval '1 day' from s";
    sqlx::raw_sql(session).execute(&mut *admin).await.unwrap();
    let codes = "insert into account.challenges (challenge_hash, challenge_id, purpose, identity_hash, object, requester, expires_at, \
                   created_at) values (sha256('1'), gen_random_uuid(), 'SIGN_IN', sha256('2'), '', '', now() + interval '1 minute', now()); \
                 insert into account.code_limits (scope_hash, sent_since, sent_count, sent_at, wrong_since, wrong_count) \
                   values (sha256('3'), now(), 1, now(), now(), 0); \
                 insert into account.mails (mail_id, template, language, parameters, state, created_at) \
                   values (gen_random_uuid(), 'UNLOCKED', 'EN', '{}', 'DROPPED', now()); \
                 insert into workspace.trial_usage (workspace_id, usage_date, meter_id, quantity) \
                   select workspace_id, '2026-11-26', 2, 1 from workspace.workspaces limit 1; \
                 insert into workspace.usage_voids (workspace_id, usage_date, event_id, meter_id, dimension, hour, counted, is_late, reason, \
                   caller, voided_at) select workspace_id, usage_date, event_id, meter_id, '', 0, 1, false, 'x', 'x', now() \
                   from workspace.usage_records limit 1; \
                 insert into workspace.usage_keys (key_hash, workspace_id, meter_id, dimension, usage_date, hours, late_hours, counted, \
                   in_time_counted) select gen_random_uuid(), workspace_id, 22, '', usage_date, 1, 0, 1, 1 from workspace.usage_records limit 1; \
                 insert into workspace.usage_suspects (workspace_id, usage_date, event_id, other_date, noted_at) \
                   select workspace_id, '2026-11-26', gen_random_uuid(), '2026-11-25', now() from workspace.workspaces limit 1; \
                 insert into workspace.late_usage (workspace_id, usage_date, record_count, point_count, key_count, void_count, first_at, last_at) \
                   select workspace_id, '2026-11-26', 1, 0, 0, 0, now(), now() from workspace.workspaces limit 1; \
                 insert into workspace.seal_failures (workspace_id, usage_date, reason, problem, failed_at, tries) \
                   select workspace_id, '2026-11-26', 'FAULT', 'x', now(), 1 from workspace.workspaces limit 1; \
                 update account.registrations set vendor = 'AWS', cloud_account_id = '1', instance_id = '1', landing_hash = sha256('l'); \
                 update account.console_accounts set phone = '+8613800138000'; \
                 insert into account.audit_trail (event_id, service, kind, caller, method, object_ids, occurred_at) \
                   values (gen_random_uuid(), 'account-svc', 'CALL', 'x', 'x', '{}', now())";
    sqlx::raw_sql(codes).execute(&mut *admin).await.unwrap();
    let closed = "insert into workspace.members (workspace_id, console_account_id, role, reads_bills, review_pending, created_at) \
                    select workspace_id, gen_random_uuid(), 'STANDARD', false, false, now() from workspace.workspaces; \
                  insert into workspace.closures (workspace_id, cause, closed_from, created_at) \
                    select workspace_id, 'LOCKED', now(), now() from workspace.workspaces; \
                  insert into workspace.retired_accounts (account_id, retired_at) values ('bacc_' || gen_random_uuid(), now())";
    sqlx::raw_sql(closed).execute(&mut *admin).await.unwrap();
    let bought = "insert into settlement.subscriptions (subscription_id, vendor, cloud_account_id, instance_id, currency, state, created_at) \
                    values (gen_random_uuid(), 'AWS', '1', 'i-1', 'CNY', 'ACTIVE', now()); \
                  insert into settlement.cloud_account_claims (vendor, cloud_account_id, billing_account_id, claimed_at) \
                    values ('AWS', '1', gen_random_uuid(), now()); \
                  insert into settlement.landing_claims (token_hash, claimed_at) values (sha256('1'), now()); \
                  insert into settlement.any_methods (billing_account_id, allowed, reason, changed_at) \
                    values (gen_random_uuid(), true, 'x', now()); \
                  insert into settlement.settlement_methods (workspace_id, effective_from, billing_account_id, subscription_id, cause, \
                    changed_by) select gen_random_uuid(), now(), gen_random_uuid(), subscription_id, 'HOLDER', 'x' \
                    from settlement.subscriptions; \
                  insert into billing.packages (billing_account_id, order_id, kind, start_date, end_date, contract, created_at) \
                    values (gen_random_uuid(), gen_random_uuid(), 'STARTUP', '2026-11-27', '2027-12-04', 'x', now())";
    sqlx::raw_sql(bought).execute(&mut *admin).await.unwrap();
    let failure = "insert into billing.bill_run_failures (run_id, workspace_id, reason, message) \
                   select run_id, gen_random_uuid(), 'NO_PRICE', 'x' from billing.bill_runs limit 1";
    sqlx::raw_sql(failure).execute(admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_named_constraint_refuses_what_it_is_for() {
    let world = World::without_prices().await.unwrap();
    local::demonstration::play(&world.clients).await.unwrap();
    world.quiet().await.unwrap();
    let mut admin = world.scratch.admin().await.unwrap();
    fill(&mut admin).await;
    let named: Vec<(String, String, String, String)> = sqlx::query_as(
        "select n.nspname::text, c.relname::text, k.conname::text, k.contype::text from pg_constraint k \
         join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('account', 'workspace', 'billing', 'settlement') and k.contype in ('c', 'f', 'p', 'u', 'x') \
           and not c.relispartition and c.relname <> '_sqlx_migrations' order by 1, 2, 3",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(named.len() > 180, "{} constraints", named.len());
    let mut cases: BTreeMap<(&str, &str), (&str, &Breach)> = BTreeMap::new();
    for (schema, own) in
        [("account", ACCOUNT), ("workspace", WORKSPACE), ("billing", BILLING), ("settlement", SETTLEMENT)]
    {
        for (table, constraint, breach) in FRAME.iter().chain(own) {
            cases.insert((schema, constraint), (table, breach));
        }
    }
    let mut used = BTreeSet::new();
    for (schema, table, constraint, kind) in &named {
        if IMPLIED.contains(&constraint.as_str()) {
            continue;
        }
        if kind == "p" {
            let copied = broken(&mut admin, statement(schema, table, &Copy("{}", "true"))).await;
            let copied = copied.unwrap_or_else(|| panic!("{schema}.{constraint} is not violated by a copy"));
            assert!(
                copied.starts_with(table) && copied.ends_with("_pkey"),
                "{schema}.{constraint}: {copied}"
            );
            continue;
        }
        let Some((table, breach)) = cases.get(&(schema.as_str(), constraint.as_str())) else {
            panic!("{schema}.{constraint} has no case")
        };
        let sql = statement(schema, table, breach);
        assert_eq!(broken(&mut admin, sql.clone()).await.as_deref(), Some(constraint.as_str()), "{sql}");
        used.insert((schema.as_str(), constraint.as_str()));
    }
    let left: Vec<_> = cases.keys().filter(|case| !used.contains(*case)).collect();
    assert!(left.is_empty(), "cases without a constraint: {left:?}");
}
