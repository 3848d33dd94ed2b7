//! The database refuses what must never be: every named constraint is violated once, and answers with its own name. A constraint
//! without a case here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tests::World;

/// How a constraint is violated.
enum Breach {
    /// `update <table> set <this>`.
    Set(&'static str),
    /// A copy of a row with these fields changed; "new" is a new id.
    Copy(&'static str, &'static str),
}
use Breach::{Copy, Set};

/// Unique keys that only serve as targets of foreign keys: the primary key is violated before them.
const IMPLIED: [&str; 2] = ["books_currency_key", "ledger_accounts_currency_key"];

const FRAME: &[(&str, &str, Breach)] = &[
    ("requests", "requests_caller_check", Set("caller = ''")),
    ("requests", "requests_hash_check", Set("request_hash = 'x'")),
    ("outbox", "outbox_attempts_check", Set("attempts = -1")),
    ("outbox", "outbox_seq_check", Set("aggregate_seq = 0")),
    ("audit_outbox", "audit_outbox_kind_check", Set("kind = 'X'")),
    ("audit_outbox", "audit_outbox_caller_check", Set("caller = ''")),
    ("audit_outbox", "audit_outbox_method_check", Set("method = ''")),
    ("audit_outbox", "audit_outbox_objects_check", Set("object_ids = array_fill('x'::text, array[33])")),
    ("outbox_heads", "outbox_heads_seq_check", Set("last_seq = 0")),
    ("deployment", "deployment_clock_check", Set("is_test = false, clock_offset_micros = 1")),
    ("deployment", "deployment_singleton_check", Set("singleton = false")),
];

const ACCOUNT: &[(&str, &str, Breach)] = &[
    ("billing_accounts", "billing_accounts_currency_check", Set("currency = 'EUR'")),
    ("billing_accounts", "billing_accounts_username_check", Set("username_key = 'UPPER'")),
    ("billing_accounts", "billing_accounts_username_key", Copy(r#"{"billing_account_id": "new"}"#, "true")),
    ("console_accounts", "console_accounts_email_check", Set("email_key = 'A@B.C'")),
    ("console_accounts", "console_accounts_email_key", Copy(r#"{"console_account_id": "new"}"#, "true")),
    ("console_accounts", "console_accounts_password_check", Set("password_hash = 'secret'")),
    ("billing_accounts", "billing_accounts_password_check", Set("password_hash = 'secret'")),
    ("console_accounts", "console_accounts_display_name_check", Set("display_name = repeat('x', 101)")),
    ("console_accounts", "console_accounts_phone_check", Set("phone = '+85251234567'")),
    (
        "console_accounts",
        "console_accounts_phone_key",
        Copy(r#"{"console_account_id": "new", "email_key": "x@y.z"}"#, "phone is not null"),
    ),
    ("console_accounts", "console_accounts_state_check", Set("state = 'X'")),
    ("console_accounts", "console_accounts_closed_check", Set("state = 'CLOSED'")),
    ("billing_accounts", "billing_accounts_closed_check", Set("state = 'CLOSING'")),
    ("billing_accounts", "billing_accounts_email_check", Set("email = 'x'")),
    ("billing_accounts", "billing_accounts_enterprise_check", Set("taxpayer_number = '91330106MA27Y5XH5K'")),
    ("billing_accounts", "billing_accounts_phone_check", Set("phone = '110'")),
    ("billing_accounts", "billing_accounts_profile_check", Set("industry = repeat('x', 101)")),
    ("billing_accounts", "billing_accounts_state_check", Set("state = 'X', close_ticket = 'x'")),
    (
        "billing_accounts",
        "billing_accounts_taxpayer_check",
        Set("taxpayer_number = 'x', enterprise_name = 'x', verified_at = now(), verify_evidence = 'x'"),
    ),
    ("audit_trail", "audit_trail_kind_check", Set("kind = 'X'")),
    ("audit_trail", "audit_trail_service_check", Set("service = 'x'")),
    ("audit_trail", "audit_trail_caller_check", Set("caller = ''")),
    ("audit_trail", "audit_trail_method_check", Set("method = ''")),
    ("audit_trail", "audit_trail_objects_check", Set("object_ids = array_fill('x'::text, array[33])")),
    ("challenges", "challenges_account_check", Set("account_id = 'x'")),
    ("challenges", "challenges_hash_check", Set("identity_hash = 'x'")),
    ("challenges", "challenges_life_check", Set("expires_at = created_at")),
    ("challenges", "challenges_purpose_check", Set("purpose = 'X'")),
    ("challenges", "challenges_use_check", Set("used_at = created_at")),
    ("code_limits", "code_limits_hash_check", Set("scope_hash = 'x'")),
    ("code_limits", "code_limits_sent_check", Set("sent_count = 301")),
    ("code_limits", "code_limits_wrong_check", Set("wrong_count = 21")),
    ("mails", "mails_account_check", Set("account_id = 'x'")),
    ("mails", "mails_address_check", Set("state = 'SENT', address = 'a@b.cd'")),
    ("mails", "mails_attempts_check", Set("attempts = -1")),
    ("mails", "mails_parked_check", Set("parked_at = now()")),
    ("registrations", "registrations_attempts_check", Set("attempts = -1")),
    ("mails", "mails_language_check", Set("language = 'X'")),
    ("mails", "mails_state_check", Set("state = 'X', address = null")),
    ("session_keys", "session_keys_id_check", Set("key_id = 'x'")),
    ("session_keys", "session_keys_public_check", Set("public_key = 'x'")),
    ("sessions", "sessions_account_check", Set("account_id = 'x'")),
    ("sessions", "sessions_end_check", Set("ended_at = created_at")),
    ("sessions", "sessions_reason_check", Set("ended_at = created_at, end_reason = 'X'")),
    ("refresh_tokens", "refresh_tokens_session_id_fkey", Set("session_id = gen_random_uuid()")),
    ("refresh_tokens", "refresh_tokens_hash_check", Set("token_hash = 'x'")),
    ("refresh_tokens", "refresh_tokens_life_check", Set("expires_at = issued_at")),
    ("sign_in_tries", "sign_in_tries_hash_check", Set("identity_hash = 'x'")),
    ("sign_in_tries", "sign_in_tries_count_check", Set("wrong_count = 21")),
    (
        "registrations",
        "registrations_bound_check",
        Set(
            "plan = 'TRIAL', vendor = null, cloud_account_id = null, instance_id = null, landing_hash = null",
        ),
    ),
    ("registrations", "registrations_choice_check", Set("billing_choice = 'X'")),
    ("registrations", "registrations_landing_check", Set("vendor = null")),
    (
        "registrations",
        "registrations_landing_key",
        Copy(r#"{"registration_id": "new", "request_id": "new"}"#, "landing_hash is not null"),
    ),
    ("registrations", "registrations_language_check", Set("language = 'X'")),
    (
        "registrations",
        "registrations_plan_check",
        Set(
            "plan = 'X', bound_at = null, vendor = null, cloud_account_id = null, instance_id = null, landing_hash = null, subscription_id = null",
        ),
    ),
    ("registrations", "registrations_complete_check", Set("completed_at = null")),
    ("registrations", "registrations_hash_check", Set("request_hash = 'x'")),
    (
        "registrations",
        "registrations_order_check",
        Set("billing_account_id = null, billing_choice = 'CREATE', bound_at = null"),
    ),
    ("registrations", "registrations_state_check", Set("state = 'X', completed_at = null")),
    ("registrations", "registrations_billing_account_id_fkey", Set("billing_account_id = gen_random_uuid()")),
    ("registrations", "registrations_console_account_id_fkey", Set("console_account_id = gen_random_uuid()")),
    ("registrations", "registrations_request_key", Copy(r#"{"registration_id": "new"}"#, "true")),
];

const WORKSPACE: &[(&str, &str, Breach)] = &[
    (
        "workspaces",
        "workspaces_commercial_check",
        Set("commercial_from = commercial_from + interval '1 minute'"),
    ),
    ("workspaces", "workspaces_name_check", Set("name = ''")),
    ("workspaces", "workspaces_language_check", Set("language = 'X'")),
    (
        "workspaces",
        "workspaces_lock_cause_check",
        Set(
            "lock_cause = 'X', locked_at = now(), lock_final_from = now() + interval '15 days', lock_told_days = 0",
        ),
    ),
    ("workspaces", "workspaces_lock_other_check", Set("lock_other_since = now()")),
    ("workspaces", "workspaces_lock_arrears_check", Set("lock_arrears_of = gen_random_uuid()")),
    ("workspaces", "workspaces_lock_check", Set("lock_cause = 'ARREARS'")),
    ("members", "members_reads_bills_check", Set("reads_bills = true")),
    ("members", "members_review_check", Set("role = 'ADMINISTRATOR', review_pending = true")),
    ("members", "members_role_check", Set("role = 'X'")),
    ("members", "members_workspace_id_fkey", Set("workspace_id = gen_random_uuid()")),
    ("closures", "closures_cause_check", Set("cause = 'X'")),
    ("closures", "closures_overlap_excl", Copy(r#"{"closed_from": "2040-01-01T00:00:00Z"}"#, "true")),
    ("closures", "closures_period_check", Set("closed_until = closed_from - interval '1 hour'")),
    ("closures", "closures_workspace_id_fkey", Set("workspace_id = gen_random_uuid()")),
    ("retired_accounts", "retired_accounts_id_check", Set("account_id = 'x'")),
    ("bindings", "bindings_currency_check", Set("currency = 'EUR'")),
    ("bindings", "bindings_hour_check", Set("effective_from = effective_from + interval '1 minute'")),
    ("bindings", "bindings_period_check", Set("effective_until = effective_from")),
    ("bindings", "bindings_workspace_id_fkey", Set("workspace_id = gen_random_uuid()")),
    ("bindings", "bindings_overlap_excl", Copy(r#"{"effective_from": "2040-01-01T00:00:00Z"}"#, "true")),
    ("retention_policies", "retention_policies_data_type_check", Set("data_type = 'X'")),
    ("retention_policies", "retention_policies_days_check", Set("days = 0")),
    (
        "retention_policies",
        "retention_policies_dimension_check",
        Set("dimension = 'x' where data_type = 'METRICS'"),
    ),
    (
        "retention_policies",
        "retention_policies_hour_check",
        Set("effective_from = effective_from + interval '1 minute'"),
    ),
    ("retention_policies", "retention_policies_workspace_id_fkey", Set("workspace_id = gen_random_uuid()")),
    ("meters", "meters_dimension_check", Set("dimension_kind = 'X'")),
    ("meters", "meters_divisor_check", Set("divisor = 7")),
    ("meters", "meters_period_check", Set("effective_until = effective_from")),
    ("meters", "meters_reduction_check", Set("reduction = 'X'")),
    ("meters", "meters_trial_quota_check", Set("trial_quota = -1")),
    ("meters", "meters_counting_check", Set("counting = 'X'")),
    ("meters", "meters_free_quantity_check", Set("free_quantity = -1")),
    ("meters", "meters_measure_id_fkey", Set("measure_id = 999")),
    ("meters", "meters_minimum_check", Set("minimum = 2")),
    ("meters", "meters_rounding_check", Set("rounding = 'X'")),
    ("meters", "meters_step_check", Set("step = 0, rounding = 'UP', reduction = 'SUM'")),
    ("meters", "meters_weight_check", Set("weight = 0, reduction = 'SUM'")),
    ("hourly_usage", "hourly_usage_count_check", Set("record_count = -1")),
    ("hourly_usage", "hourly_usage_hour_check", Set("hour = 25")),
    ("hourly_usage", "hourly_usage_max_check", Set("max = -1")),
    ("hourly_usage", "hourly_usage_sum_check", Set("in_time_sum = -1")),
    ("meters", "meters_max_check", Set("reduction = 'MAX', weight = 2")),
    ("usage_keys", "usage_keys_counted_check", Set("in_time_counted = counted + 1")),
    ("usage_keys", "usage_keys_hours_check", Set("hours = 0")),
    ("usage_voids", "usage_voids_counted_check", Set("counted = -1")),
    ("usage_voids", "usage_voids_hour_check", Set("hour = 24")),
    ("usage_voids", "usage_voids_reason_check", Set("reason = ''")),
    ("usage_voids", "usage_voids_caller_check", Set("caller = ''")),
    ("usage_suspects", "usage_suspects_days_check", Set("other_date = usage_date")),
    ("sealed_days", "sealed_days_origin_check", Set("origin = 'X'")),
    ("sealed_days", "sealed_days_source_check", Set("source = 'x'")),
    ("late_usage", "late_usage_count_check", Set("record_count = 0")),
    ("late_usage", "late_usage_period_check", Set("last_at = first_at - interval '1 second'")),
    ("trial_usage", "trial_usage_quantity_check", Set("quantity = -1")),
    ("trial_usage", "trial_usage_workspace_id_fkey", Set("workspace_id = gen_random_uuid()")),
    ("meters", "meters_period_excl", Copy(r#"{"meter_id": 99}"#, "true")),
    ("usage_records", "usage_records_day_check", Set("event_time = event_time - interval '2 days'")),
    ("usage_records", "usage_records_quantity_check", Set("quantity = -1")),
    ("usage_points", "usage_points_hour_check", Set("hour = 24")),
    ("usage_points", "usage_points_quantity_check", Set("quantity = -1")),
    ("usage_points", "usage_points_revision_check", Set("revision = -1")),
    ("usage_sources", "usage_sources_mode_check", Set("mode = 'X'")),
    ("day_fences", "day_fences_digest_check", Set("digest = 'x'")),
    ("day_fences", "day_fences_manifest_check", Set("sealed_at = null")),
    (
        "day_fences",
        "day_fences_state_check",
        Set("state = 'X', sealed_at = null, workspace_count = null, digest = null"),
    ),
    ("sealed_days", "sealed_days_currency_check", Set("currency = 'EUR'")),
    ("sealed_days", "sealed_days_digest_check", Set("canonical = 'x'")),
    ("sealed_days", "sealed_days_site_class_check", Set("site_class = 'X'")),
    ("sealed_lines", "sealed_lines_quantity_check", Set("quantity = 0")),
    ("sealed_lines", "sealed_lines_sealed_day_fkey", Set("usage_date = '2020-01-01'")),
];

const BILLING: &[(&str, &str, Breach)] = &[
    ("price_books", "price_books_currency_check", Set("currency = 'EUR'")),
    ("price_books", "price_books_site_class_check", Set("site_class = 'X'")),
    ("price_books", "price_books_version_check", Set("version = 0")),
    ("price_entries", "price_entries_item_check", Set("item = 'A-B'")),
    ("price_entries", "price_entries_period_check", Set("effective_until = effective_from")),
    ("price_entries", "price_entries_retention_check", Set("retention_days = -1")),
    ("price_entries", "price_entries_unit_price_check", Set("unit_price = 0.0000001")),
    ("price_entries", "price_entries_unit_size_check", Set("unit_size = 3")),
    ("price_entries", "price_entries_book_fkey", Set("site_class = 'NONE' where item = 'sms'")),
    (
        "price_entries",
        "price_entries_overlap_excl",
        Copy(r#"{"effective_from": "2040-01-01"}"#, "effective_until is null"),
    ),
    ("packages", "packages_contract_check", Set("contract = ''")),
    ("packages", "packages_kind_check", Set("kind = 'X'")),
    ("packages", "packages_overlap_excl", Copy(r#"{"order_id": "new"}"#, "true")),
    ("packages", "packages_term_check", Set("end_date = start_date + 365")),
    ("bill_runs", "bill_runs_complete_check", Set("billed_count = 0")),
    ("bill_runs", "bill_runs_count_check", Set("state = 'RUNNING', finished_at = null, billed_count = -1")),
    ("bill_runs", "bill_runs_finish_check", Set("finished_at = null")),
    ("bill_runs", "bill_runs_state_check", Set("state = 'X', finished_at = null")),
    ("bill_run_failures", "bill_run_failures_reason_check", Set("reason = 'X'")),
    ("bill_run_failures", "bill_run_failures_run_id_fkey", Set("run_id = gen_random_uuid()")),
    ("bill_chains", "bill_chains_number_check", Set("last_number = -1")),
    ("bills", "bills_currency_check", Set("currency = 'EUR'")),
    ("bills", "bills_digest_check", Set("canonical = 'x'")),
    ("bills", "bills_kind_check", Set("kind = 'X'")),
    ("bills", "bills_seq_check", Set("seq = 2")),
    ("bills", "bills_site_class_check", Set("site_class = 'X'")),
    ("bills", "bills_total_check", Set("total = -1")),
    ("bills", "bills_chain_key", Copy(r#"{"bill_id": "new", "usage_date": "2020-01-01"}"#, "true")),
    ("bills", "bills_day_kind_seq_key", Copy(r#"{"bill_id": "new", "chain_number": 99}"#, "true")),
    ("bill_lines", "bill_lines_amount_check", Set("amount = amount + 0.01")),
    ("bill_lines", "bill_lines_discount_check", Set("discount = 1.00001")),
    ("bill_lines", "bill_lines_list_amount_check", Set("list_amount = list_amount + 0.00000001")),
    ("bill_lines", "bill_lines_number_check", Set("line_number = 0")),
    ("bill_lines", "bill_lines_quantity_check", Set("quantity = quantity + 0.001")),
    (
        "bill_lines",
        "bill_lines_units_check",
        Set(
            "units = units + 1, list_amount = (units + 1) * unit_price, amount = round((units + 1) * unit_price * discount, 2)",
        ),
    ),
    ("bill_lines", "bill_lines_bill_fkey", Set("bill_id = gen_random_uuid()")),
    ("bill_settlements", "bill_settlements_amount_check", Set("voucher_amount = -1")),
    ("bill_settlements", "bill_settlements_zero_check", Set("settlement_id = null")),
    ("bill_settlements", "bill_settlements_bill_fkey", Set("bill_id = gen_random_uuid()")),
    ("account_entries", "account_entries_currency_check", Set("currency = 'EUR'")),
    ("account_entries", "account_entries_total_check", Set("total = 1.005")),
];

const SETTLEMENT: &[(&str, &str, Breach)] = &[
    ("books", "books_currency_check", Set("currency = 'EUR'")),
    ("ledger_accounts", "ledger_accounts_amount_check", Set("debits = -1")),
    ("ledger_accounts", "ledger_accounts_arrears_check", Set("credits = debits + 1 where kind = 'ARREARS'")),
    (
        "ledger_accounts",
        "ledger_accounts_closed_check",
        Set("is_closed = true, credits = credits + 1 where kind = 'CASH'"),
    ),
    ("ledger_accounts", "ledger_accounts_floor_check", Set("debits = credits + 0.01 where kind = 'CASH'")),
    ("ledger_accounts", "ledger_accounts_kind_check", Set("kind = 'X' where kind = 'INCOME'")),
    (
        "ledger_accounts",
        "ledger_accounts_source_check",
        Set("source_id = gen_random_uuid() where kind = 'CASH'"),
    ),
    ("ledger_accounts", "ledger_accounts_book_fkey", Set("currency = 'USD' where kind = 'ARREARS'")),
    (
        "ledger_accounts",
        "ledger_accounts_kind_source_key",
        Copy(r#"{"ledger_account_id": "new"}"#, "kind = 'CASH'"),
    ),
    ("transfers", "transfers_accounts_check", Set("credit_account_id = debit_account_id")),
    ("transfers", "transfers_amount_check", Set("amount = 1.005")),
    ("transfers", "transfers_code_check", Set("code = 'X'")),
    ("transfers", "transfers_corrects_fkey", Set("corrects_transfer_id = gen_random_uuid()")),
    ("transfers", "transfers_credit_account_fkey", Set("credit_account_id = gen_random_uuid()")),
    ("transfers", "transfers_debit_account_fkey", Set("debit_account_id = gen_random_uuid()")),
    ("vouchers", "vouchers_face_value_check", Set("face_value = 0")),
    ("vouchers", "vouchers_kind_check", Set("kind = 'X'")),
    ("vouchers", "vouchers_reason_check", Set("grant_reason = ''")),
    ("vouchers", "vouchers_book_fkey", Set("currency = 'USD'")),
    ("payment_claims", "payment_claims_amount_check", Set("amount = 'NaN'")),
    ("payment_claims", "payment_claims_currency_check", Set("currency = 'EUR'")),
    ("payment_claims", "payment_claims_provider_check", Set("provider = 'A B'")),
    ("subscriptions", "subscriptions_currency_check", Set("currency = 'EUR'")),
    ("subscriptions", "subscriptions_instance_key", Copy(r#"{"subscription_id": "new"}"#, "true")),
    ("subscriptions", "subscriptions_name_check", Set("instance_id = ''")),
    ("subscriptions", "subscriptions_state_check", Set("state = 'ENDED', ended_at = null")),
    ("subscriptions", "subscriptions_vendor_check", Set("vendor = 'X'")),
    ("cloud_account_claims", "cloud_account_claims_vendor_check", Set("vendor = 'X'")),
    ("landing_claims", "landing_claims_hash_check", Set("token_hash = 'x'")),
    (
        "settlement_methods",
        "settlement_methods_activation_check",
        Set("cause = 'ACTIVATION', subscription_id = null"),
    ),
    ("settlement_methods", "settlement_methods_cause_check", Set("cause = 'X'")),
    ("settlement_methods", "settlement_methods_end_check", Set("cause = 'SUBSCRIPTION_ENDED'")),
    (
        "settlement_methods",
        "settlement_methods_subscription_id_fkey",
        Set("subscription_id = gen_random_uuid()"),
    ),
    ("any_methods", "any_methods_reason_check", Set("reason = ''")),
    (
        "settlements",
        "settlements_cloud_check",
        Set(
            "owed = 0.01, method = 'CLOUD_ACCOUNT', subscription_id = (select subscription_id from settlement.subscriptions limit 1)",
        ),
    ),
    (
        "settlements",
        "settlements_subscription_id_fkey",
        Set("method = 'CLOUD_ACCOUNT', subscription_id = gen_random_uuid()"),
    ),
    ("settlements", "settlements_amount_check", Set("owed_remaining = owed + 1")),
    ("settlements", "settlements_digest_check", Set("bill_digest = 'x'")),
    ("settlements", "settlements_method_check", Set("method = 'X'")),
    ("settlements", "settlements_book_fkey", Set("currency = 'USD'")),
    ("settlements", "settlements_settlement_id_key", Copy(r#"{"bill_id": "new"}"#, "true")),
    ("allocations", "allocations_amount_check", Set("amount = 0")),
    ("allocations", "allocations_number_check", Set("line_number = 0")),
    ("allocations", "allocations_source_check", Set("source = 'X'")),
    ("allocations", "allocations_settlement_fkey", Set("bill_id = gen_random_uuid()")),
    ("allocations", "allocations_transfer_fkey", Set("transfer_id = gen_random_uuid()")),
];

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
