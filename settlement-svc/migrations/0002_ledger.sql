-- The double-entry ledger: one closed book per billing account.
-- Locks: none, the tables are new. Size: transfers several a day per paying account, kept 10 years.

create table settlement.books (
    billing_account_id uuid not null,
    currency char(3) not null,
    opened_at timestamptz not null,
    constraint books_pkey primary key (billing_account_id),
    constraint books_currency_key unique (billing_account_id, currency),
    constraint books_currency_check check (currency in ('CNY', 'USD'))
);
comment on table settlement.books is 'One closed book per billing account, in its one currency; its row lock orders all that changes it; distributed by billing_account_id';

create table settlement.ledger_accounts (
    billing_account_id uuid not null,
    ledger_account_id uuid not null,
    currency char(3) not null,
    kind text not null,
    source_id uuid,
    debits numeric not null default 0,
    credits numeric not null default 0,
    version bigint not null default 0,
    constraint ledger_accounts_pkey primary key (billing_account_id, ledger_account_id),
    constraint ledger_accounts_currency_key unique (billing_account_id, ledger_account_id, currency),
    constraint ledger_accounts_kind_source_key unique nulls not distinct (billing_account_id, kind, source_id),
    constraint ledger_accounts_book_fkey foreign key (billing_account_id, currency) references settlement.books (billing_account_id, currency),
    constraint ledger_accounts_kind_check check (kind in
        ('FUNDING', 'PROMOTION', 'CASH', 'VOUCHER', 'CARD', 'ARREARS', 'INCOME', 'BREAKAGE', 'CLOUD', 'CLEARING')),
    constraint ledger_accounts_source_check check ((kind in ('VOUCHER', 'CARD', 'CLOUD')) = (source_id is not null)),
    constraint ledger_accounts_amount_check check (debits >= 0 and credits >= 0 and scale(debits) <= 2 and scale(credits) <= 2
        and abs(credits - debits) < 1e15),
    constraint ledger_accounts_floor_check check (kind not in ('CASH', 'VOUCHER', 'CARD') or credits >= debits),
    constraint ledger_accounts_arrears_check check (kind <> 'ARREARS' or debits >= credits)
);
comment on table settlement.ledger_accounts is 'The accounts of each book with their running sums; cash, vouchers and cards never go below zero; distributed by billing_account_id';
comment on column settlement.ledger_accounts.source_id is 'The voucher, card or subscription that the account is of';

create table settlement.transfers (
    billing_account_id uuid not null,
    transfer_id uuid not null,
    debit_account_id uuid not null,
    credit_account_id uuid not null,
    currency char(3) not null,
    amount numeric not null,
    code text not null,
    reason_id uuid not null,
    pair_id uuid,
    corrects_transfer_id uuid,
    posted_at timestamptz not null,
    constraint transfers_pkey primary key (billing_account_id, transfer_id),
    constraint transfers_debit_account_fkey foreign key (billing_account_id, debit_account_id, currency)
        references settlement.ledger_accounts (billing_account_id, ledger_account_id, currency),
    constraint transfers_credit_account_fkey foreign key (billing_account_id, credit_account_id, currency)
        references settlement.ledger_accounts (billing_account_id, ledger_account_id, currency),
    constraint transfers_corrects_fkey foreign key (billing_account_id, corrects_transfer_id) references settlement.transfers,
    constraint transfers_accounts_check check (debit_account_id <> credit_account_id),
    constraint transfers_amount_check check (amount > 0 and amount < 1e15 and scale(amount) <= 2),
    constraint transfers_code_check check (code in ('TOP_UP', 'VOUCHER_GRANT', 'BILL', 'BILL_OWED', 'ARREARS_REPAID'))
);
comment on table settlement.transfers is 'Movements: one debit and one credit account of one book and currency, and a positive amount; never changed, never deleted; distributed by billing_account_id';

create table settlement.vouchers (
    billing_account_id uuid not null,
    voucher_id uuid not null,
    kind text not null,
    face_value numeric not null,
    currency char(3) not null,
    activated_at timestamptz not null,
    last_date date not null,
    grant_reason text not null,
    constraint vouchers_pkey primary key (billing_account_id, voucher_id),
    constraint vouchers_book_fkey foreign key (billing_account_id, currency) references settlement.books (billing_account_id, currency),
    constraint vouchers_kind_check check (kind in ('PLAIN', 'FULL_REDUCTION')),
    constraint vouchers_face_value_check check (face_value > 0 and face_value < 1e15 and scale(face_value) <= 2),
    constraint vouchers_reason_check check (length(grant_reason) between 1 and 200)
);
comment on table settlement.vouchers is 'Granted credit; what is left of it is its ledger account''s balance; distributed by billing_account_id';

create table settlement.payment_claims (
    provider text not null,
    reference text not null,
    billing_account_id uuid not null,
    transfer_reason_id uuid not null,
    amount numeric not null,
    currency char(3) not null,
    claimed_at timestamptz not null,
    constraint payment_claims_pkey primary key (provider, reference),
    constraint payment_claims_provider_check check (provider ~ '^[a-z0-9_-]{1,32}$'),
    constraint payment_claims_amount_check check (amount > 0 and amount < 1e15 and scale(amount) <= 2),
    constraint payment_claims_currency_check check (currency in ('CNY', 'USD'))
);
comment on table settlement.payment_claims is 'Payments that were credited, each once whoever asks: kept apart from the books so that it is unique over all of them; local';

-- Locking a row takes the right to update a column of it; nothing ever updates opened_at.
grant select, insert, update (opened_at) on settlement.books to tallystick_settlement_app;
grant select, insert, update (debits, credits, version) on settlement.ledger_accounts to tallystick_settlement_app;
grant select, insert on settlement.transfers to tallystick_settlement_app;
grant select, insert on settlement.vouchers to tallystick_settlement_app;
grant select, insert on settlement.payment_claims to tallystick_settlement_app;
