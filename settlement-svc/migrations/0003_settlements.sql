-- How bills were paid.
-- Locks: none, the tables are new. Size: one row per bill, an allocation or two per line; kept 10 years.

create table settlement.settlements (
    billing_account_id uuid not null,
    bill_id uuid not null,
    settlement_id uuid not null,
    workspace_id uuid not null,
    usage_date date not null,
    method text not null,
    currency char(3) not null,
    total numeric not null,
    owed numeric not null,
    owed_remaining numeric not null,
    bill_digest bytea not null,
    settled_at timestamptz not null,
    constraint settlements_pkey primary key (billing_account_id, bill_id),
    constraint settlements_settlement_id_key unique (billing_account_id, settlement_id),
    constraint settlements_book_fkey foreign key (billing_account_id, currency) references settlement.books (billing_account_id, currency),
    constraint settlements_method_check check (method in ('BILLING_ACCOUNT')),
    constraint settlements_amount_check check (total >= 0 and total < 1e15 and scale(total) <= 2 and scale(owed) <= 2
        and scale(owed_remaining) <= 2 and owed between 0 and total and owed_remaining between 0 and owed),
    constraint settlements_digest_check check (octet_length(bill_digest) = 32)
);
create index settlements_bill_id_idx on settlement.settlements (bill_id);
create index settlements_owed_idx on settlement.settlements (billing_account_id, usage_date, settlement_id) where owed_remaining > 0;
comment on table settlement.settlements is 'How each bill was paid, decided once: unique by payer and bill; distributed by billing_account_id';
comment on column settlement.settlements.owed_remaining is 'What of the owed part has not been repaid yet';

create table settlement.allocations (
    billing_account_id uuid not null,
    bill_id uuid not null,
    seq integer not null,
    line_number integer not null,
    source text not null,
    source_id uuid,
    amount numeric not null,
    transfer_id uuid not null,
    constraint allocations_pkey primary key (billing_account_id, bill_id, seq),
    constraint allocations_settlement_fkey foreign key (billing_account_id, bill_id) references settlement.settlements,
    constraint allocations_transfer_fkey foreign key (billing_account_id, transfer_id) references settlement.transfers,
    constraint allocations_source_check check (source in ('PLAIN_VOUCHER', 'FULL_REDUCTION_VOUCHER', 'PREPAID_CARD', 'CASH')
        and (source = 'CASH') = (source_id is null)),
    constraint allocations_amount_check check (amount > 0 and scale(amount) <= 2),
    constraint allocations_number_check check (seq > 0 and line_number > 0)
);
comment on table settlement.allocations is 'From which source each line was paid, in order of deduction; distributed by billing_account_id';

grant select, insert, update (owed_remaining) on settlement.settlements to tallystick_settlement_app;
grant select, insert on settlement.allocations to tallystick_settlement_app;
