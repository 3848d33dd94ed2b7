-- Yearly packages that were sold.
-- Locks: none, the table is new. Size: one row per contract.

create table billing.packages (
    billing_account_id uuid not null,
    order_id uuid not null,
    kind text not null,
    start_date date not null,
    end_date date not null,
    contract text not null,
    created_at timestamptz not null,
    constraint packages_pkey primary key (billing_account_id, order_id),
    constraint packages_kind_check check (kind in ('STARTUP', 'GROWTH', 'ENTERPRISE')),
    constraint packages_term_check check (end_date = start_date + 372),
    constraint packages_contract_check check (length(contract) between 1 and 200),
    constraint packages_overlap_excl exclude using gist (billing_account_id with =, daterange(start_date, end_date) with &&)
);
comment on table billing.packages is 'Yearly packages, one at a time per billing account (YP-1); distributed by billing_account_id';

grant select, insert on billing.packages to tallystick_billing_app;
