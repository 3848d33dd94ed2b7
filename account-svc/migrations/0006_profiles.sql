-- What accounts say of themselves, where they are reached, and whether they are open.
-- Locks: adding columns with constant defaults locks each account table for a moment. Size: one row per customer each.

alter table account.console_accounts add column display_name text not null default '';
alter table account.console_accounts add column phone text;
alter table account.console_accounts add column state text not null default 'OPEN';
alter table account.console_accounts add constraint console_accounts_display_name_check check (length(display_name) <= 100);
alter table account.console_accounts add constraint console_accounts_phone_check check (phone ~ '^[+]86[1][0-9]{10}$');
alter table account.console_accounts add constraint console_accounts_phone_key unique (site, phone);
alter table account.console_accounts add constraint console_accounts_state_check check (state in ('OPEN', 'CLOSING', 'CLOSED'));
comment on column account.console_accounts.phone is 'A mainland number, unique per site (ACC-7)';

alter table account.billing_accounts add column email text;
alter table account.billing_accounts add column phone text;
alter table account.billing_accounts add column company_name text not null default '';
alter table account.billing_accounts add column industry text not null default '';
alter table account.billing_accounts add column region text not null default '';
alter table account.billing_accounts add column company_description text not null default '';
alter table account.billing_accounts add column contact_name text not null default '';
alter table account.billing_accounts add column enterprise_name text;
alter table account.billing_accounts add column taxpayer_number text;
alter table account.billing_accounts add column verified_at timestamptz;
alter table account.billing_accounts add column verify_evidence text;
alter table account.billing_accounts add column state text not null default 'OPEN';
alter table account.billing_accounts add constraint billing_accounts_email_check check (length(email) between 3 and 254);
alter table account.billing_accounts add constraint billing_accounts_phone_check check (phone ~ '^[+]86[1][0-9]{10}$');
alter table account.billing_accounts add constraint billing_accounts_profile_check check (length(company_name) <= 200
    and length(industry) <= 100 and length(region) <= 100 and length(company_description) <= 1000 and length(contact_name) <= 100);
alter table account.billing_accounts add constraint billing_accounts_enterprise_check check (
    (enterprise_name is null) = (taxpayer_number is null) and (enterprise_name is null) = (verified_at is null)
    and (enterprise_name is null) = (verify_evidence is null));
alter table account.billing_accounts add constraint billing_accounts_taxpayer_check check (taxpayer_number ~ '^[0-9A-Z]{15,20}$');
alter table account.billing_accounts add constraint billing_accounts_state_check check (state in ('OPEN', 'CLOSING', 'CLOSED'));
comment on column account.billing_accounts.email is 'Where codes and bills are mailed to; no identity, not unique';
comment on column account.billing_accounts.taxpayer_number is 'Equal numbers of verified accounts are one enterprise (DEC-72)';

grant update (email, email_key, display_name, phone, state) on account.console_accounts to tallystick_account_app;
grant update (email, phone, company_name, industry, region, company_description, contact_name, enterprise_name, taxpayer_number,
    verified_at, verify_evidence, state) on account.billing_accounts to tallystick_account_app;
alter table account.sessions drop constraint sessions_reason_check;
alter table account.sessions add constraint sessions_reason_check
    check (end_reason in ('REVOKED', 'REFRESH_TOKEN_REUSED', 'PASSWORD_SET', 'ACCOUNT_CLOSED'));
create index sessions_account_id_idx on account.sessions (account_id) where ended_at is null;
