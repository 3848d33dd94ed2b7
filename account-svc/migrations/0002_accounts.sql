-- Console accounts, billing accounts and the registrations that make them.
-- Locks: none, the tables are new. Size: one row per customer each.

create table account.console_accounts (
    console_account_id uuid not null,
    site text not null,
    email text not null,
    email_key text not null,
    created_at timestamptz not null,
    constraint console_accounts_pkey primary key (console_account_id),
    constraint console_accounts_email_key unique (site, email_key),
    constraint console_accounts_email_check check (length(email) between 3 and 254 and email_key = lower(email_key))
);
comment on table account.console_accounts is 'Who logs in; identity: e-mail, unique per site (DEC-67); reference';
comment on column account.console_accounts.email_key is 'The address in lower case: what is compared';

create table account.billing_accounts (
    billing_account_id uuid not null,
    username text not null,
    username_key text not null,
    currency char(3) not null,
    created_at timestamptz not null,
    constraint billing_accounts_pkey primary key (billing_account_id),
    constraint billing_accounts_username_key unique (username_key),
    constraint billing_accounts_username_check check (length(username) between 4 and 64 and username_key = lower(username)),
    constraint billing_accounts_currency_check check (currency in ('CNY', 'USD'))
);
comment on table account.billing_accounts is 'Who pays; identity: user name, unique over all sites whatever its case (DEC-67); reference';

create table account.registrations (
    registration_id uuid not null,
    caller text not null,
    request_id uuid not null,
    request_hash bytea not null,
    site text not null,
    username text not null,
    currency char(3) not null,
    workspace_name text not null,
    state text not null,
    console_account_id uuid not null,
    billing_account_id uuid,
    workspace_id uuid,
    created_at timestamptz not null,
    completed_at timestamptz,
    constraint registrations_pkey primary key (registration_id),
    constraint registrations_request_key unique (caller, request_id),
    constraint registrations_console_account_id_fkey foreign key (console_account_id) references account.console_accounts,
    constraint registrations_billing_account_id_fkey foreign key (billing_account_id) references account.billing_accounts,
    constraint registrations_hash_check check (octet_length(request_hash) = 32),
    constraint registrations_state_check check (state in ('RUNNING', 'USERNAME_TAKEN', 'COMPLETE')),
    constraint registrations_order_check check (workspace_id is null or billing_account_id is not null),
    constraint registrations_complete_check
        check ((state = 'COMPLETE') = (completed_at is not null) and (state <> 'COMPLETE' or workspace_id is not null))
);
create index registrations_unfinished_idx on account.registrations (created_at) where state = 'RUNNING';
comment on table account.registrations is 'How far each registration came: a step that is missing is null (DEC-69); reference';

grant select, insert on account.console_accounts to tallystick_account_app;
grant select, insert on account.billing_accounts to tallystick_account_app;
grant select, insert, update on account.registrations to tallystick_account_app;
