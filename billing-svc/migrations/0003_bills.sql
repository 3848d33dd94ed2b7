-- Bill runs, bills and how they were paid.
-- Locks: none, the tables are new. Size: bills one row per workspace and day, lines a dozen each; kept 10 years.

create table billing.bill_runs (
    run_id uuid not null,
    usage_date date not null,
    state text not null,
    workspace_count integer not null,
    billed_count integer not null default 0,
    failed_count integer not null default 0,
    trace_context text not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    constraint bill_runs_pkey primary key (run_id),
    constraint bill_runs_state_check check (state in ('PENDING', 'RUNNING', 'SUCCEEDED', 'CANCELLED')),
    constraint bill_runs_finish_check check ((state in ('SUCCEEDED', 'CANCELLED')) = (finished_at is not null)),
    constraint bill_runs_count_check check (workspace_count >= 0 and billed_count >= 0 and failed_count >= 0
        and billed_count + failed_count <= workspace_count),
    constraint bill_runs_complete_check check (state <> 'SUCCEEDED' or billed_count + failed_count = workspace_count)
);
create index bill_runs_unfinished_idx on billing.bill_runs (created_at) where state in ('PENDING', 'RUNNING');
comment on table billing.bill_runs is 'The making of a day''s bills: bills + listed failures = manifest, or it has not succeeded; reference';
comment on column billing.bill_runs.trace_context is 'Of the call that asked for the run: its work belongs to the same trace';

create table billing.bill_run_failures (
    run_id uuid not null,
    workspace_id uuid not null,
    reason text not null,
    message text not null,
    constraint bill_run_failures_pkey primary key (run_id, workspace_id),
    constraint bill_run_failures_run_id_fkey foreign key (run_id) references billing.bill_runs,
    constraint bill_run_failures_reason_check check (reason in ('NO_PRICE', 'NO_BOOK', 'OUT_OF_BOUNDS', 'FAULT'))
);
comment on table billing.bill_run_failures is 'Workspaces that a run could not bill, with the reason; reference';

create table billing.bill_chains (
    workspace_id uuid not null,
    last_number bigint not null,
    last_digest bytea not null,
    constraint bill_chains_pkey primary key (workspace_id),
    constraint bill_chains_number_check check (last_number >= 0)
);
comment on table billing.bill_chains is 'The newest bill of each workspace, in order of issue; its row lock makes the chain; distributed by workspace_id';

create table billing.bills (
    workspace_id uuid not null,
    bill_id uuid not null,
    usage_date date not null,
    kind text not null,
    seq integer not null,
    chain_number bigint not null,
    billing_account_id uuid not null,
    currency char(3) not null,
    site_class text not null,
    price_version integer not null,
    rule_set_version integer not null,
    total numeric not null,
    sealed_digest bytea not null,
    previous_digest bytea not null,
    canonical text not null,
    digest bytea not null,
    run_id uuid not null,
    issued_at timestamptz not null,
    constraint bills_pkey primary key (workspace_id, bill_id),
    constraint bills_day_kind_seq_key unique (workspace_id, usage_date, kind, seq),
    constraint bills_chain_key unique (workspace_id, chain_number),
    constraint bills_kind_check check (kind in ('DAILY', 'CLOSE_OUT', 'ADJUSTMENT', 'CREDIT')),
    constraint bills_seq_check check (seq > 0 and (kind <> 'DAILY' or seq = 1)),
    constraint bills_currency_check check (currency in ('CNY', 'USD')),
    constraint bills_site_class_check check (site_class in ('CHINA', 'OVERSEAS')),
    constraint bills_total_check check (scale(total) <= 2 and abs(total) < 1e15 and (kind = 'CREDIT') = (total < 0)),
    constraint bills_digest_check check (digest = sha256(convert_to(canonical, 'UTF8')) and octet_length(sealed_digest) = 32
        and octet_length(previous_digest) in (0, 32))
);
create index bills_bill_id_idx on billing.bills (bill_id);
comment on table billing.bills is 'Issued bills, never changed: each names its payer, its prices and the bill before it; distributed by workspace_id';

create table billing.bill_lines (
    workspace_id uuid not null,
    bill_id uuid not null,
    line_number integer not null,
    item text not null,
    dimension text not null,
    retention_days integer not null,
    quantity numeric not null,
    unit_size numeric not null,
    units numeric not null,
    unit_price numeric not null,
    discount numeric not null,
    list_amount numeric not null,
    amount numeric not null,
    is_restricted boolean not null,
    constraint bill_lines_pkey primary key (workspace_id, bill_id, line_number),
    constraint bill_lines_bill_fkey foreign key (workspace_id, bill_id) references billing.bills,
    constraint bill_lines_number_check check (line_number > 0),
    constraint bill_lines_quantity_check check (quantity >= 0 and quantity < 1e18 and scale(quantity) <= 2),
    constraint bill_lines_units_check check (units * unit_size <= quantity and quantity < (units + 0.01) * unit_size
        and scale(units) <= 2),
    constraint bill_lines_discount_check check (discount between 0 and 1 and scale(discount) <= 4),
    constraint bill_lines_list_amount_check check (list_amount = units * unit_price and list_amount < 1e12),
    constraint bill_lines_amount_check check (scale(amount) <= 2 and amount = round(list_amount * discount, 2))
);
comment on table billing.bill_lines is 'Lines of bills, with everything that their amount follows from; distributed by workspace_id';

create table billing.bill_settlements (
    workspace_id uuid not null,
    bill_id uuid not null,
    settlement_id uuid,
    voucher_amount numeric not null,
    card_amount numeric not null,
    cash_amount numeric not null,
    cloud_amount numeric not null,
    owed_amount numeric not null,
    settled_at timestamptz not null,
    constraint bill_settlements_pkey primary key (workspace_id, bill_id),
    constraint bill_settlements_bill_fkey foreign key (workspace_id, bill_id) references billing.bills,
    constraint bill_settlements_zero_check check (settlement_id is not null
        or voucher_amount + card_amount + cash_amount + cloud_amount + owed_amount = 0),
    constraint bill_settlements_amount_check check (least(voucher_amount, card_amount, cash_amount, cloud_amount, owed_amount) >= 0
        and scale(voucher_amount) <= 2 and scale(card_amount) <= 2 and scale(cash_amount) <= 2
        and scale(cloud_amount) <= 2 and scale(owed_amount) <= 2)
);
comment on table billing.bill_settlements is 'How each bill was paid, as settlement-svc said; distributed by workspace_id';
comment on column billing.bill_settlements.settlement_id is 'Null for a zero bill: it is settled at issue, without an allocation (DEC-47)';

create table billing.account_entries (
    billing_account_id uuid not null,
    bill_id uuid not null,
    workspace_id uuid not null,
    usage_date date not null,
    kind text not null,
    total numeric not null,
    currency char(3) not null,
    issued_at timestamptz not null,
    constraint account_entries_pkey primary key (billing_account_id, bill_id),
    constraint account_entries_currency_check check (currency in ('CNY', 'USD')),
    constraint account_entries_total_check check (scale(total) <= 2)
);
comment on table billing.account_entries is 'One row per bill on its payer''s side: lists, months and previews of an account; distributed by billing_account_id';

grant select, insert, update on billing.bill_runs to tallystick_billing_app;
grant select, insert, delete on billing.bill_run_failures to tallystick_billing_app;
grant select, insert, update on billing.bill_chains to tallystick_billing_app;
grant select, insert on billing.bills to tallystick_billing_app;
grant select, insert on billing.bill_lines to tallystick_billing_app;
grant select, insert on billing.bill_settlements to tallystick_billing_app;
grant select, insert on billing.account_entries to tallystick_billing_app;
