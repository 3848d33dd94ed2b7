-- Accounts that are closed.
-- Locks: adding nullable columns and checks locks each account table for a moment. Size: one row per customer each.

alter table account.console_accounts add column closed_at timestamptz;
alter table account.console_accounts add constraint console_accounts_closed_check check ((state = 'CLOSED') = (closed_at is not null)
    and (state <> 'CLOSED' or password_hash is null and phone is null and display_name = ''));
alter table account.billing_accounts add column closed_at timestamptz;
alter table account.billing_accounts add column close_ticket text;
alter table account.billing_accounts add constraint billing_accounts_closed_check check ((state = 'CLOSED') = (closed_at is not null)
    and (state = 'OPEN') = (close_ticket is null)
    and (state <> 'CLOSED' or password_hash is null and phone is null and email is null and contact_name = ''));
comment on column account.billing_accounts.close_ticket is 'Where the customer asked for the closing that began';
create index console_accounts_closing_idx on account.console_accounts (console_account_id) where state = 'CLOSING';
create index billing_accounts_closing_idx on account.billing_accounts (billing_account_id) where state = 'CLOSING';

grant update (closed_at) on account.console_accounts to tallystick_account_app;
grant update (closed_at, close_ticket) on account.billing_accounts to tallystick_account_app;
