-- Registrations from marketplaces, with existing accounts, and of trials.
-- Locks: adding columns and replacing a check locks registrations for a moment. Size: one row per customer.

alter table account.registrations add column language text not null default 'ZH';
alter table account.registrations add column plan text not null default 'COMMERCIAL';
alter table account.registrations add column billing_choice text not null default 'CREATE';
alter table account.registrations add column vendor text;
alter table account.registrations add column cloud_account_id text;
alter table account.registrations add column instance_id text;
alter table account.registrations add column landing_hash bytea;
alter table account.registrations add column subscription_id uuid;
alter table account.registrations add column bound_at timestamptz;
update account.registrations set bound_at = completed_at where completed_at is not null;
alter table account.registrations add constraint registrations_language_check check (language in ('ZH', 'EN'));
alter table account.registrations add constraint registrations_plan_check check (plan in ('COMMERCIAL', 'TRIAL'));
alter table account.registrations add constraint registrations_choice_check check (billing_choice in ('CREATE', 'EXISTING', 'NONE')
    and (billing_choice <> 'NONE' or plan = 'TRIAL' and billing_account_id is null)
    and (billing_choice <> 'EXISTING' or billing_account_id is not null));
alter table account.registrations add constraint registrations_landing_check check (
    (vendor is null) = (cloud_account_id is null) and (vendor is null) = (instance_id is null) and (vendor is null) = (landing_hash is null)
    and (vendor is null or plan = 'COMMERCIAL') and (vendor is not null or subscription_id is null)
    and octet_length(landing_hash) = 32);
alter table account.registrations add constraint registrations_landing_key unique (landing_hash);
alter table account.registrations add constraint registrations_bound_check check (bound_at is null
    or plan = 'COMMERCIAL' and workspace_id is not null and billing_account_id is not null);
alter table account.registrations drop constraint registrations_order_check;
alter table account.registrations add constraint registrations_order_check
    check (workspace_id is null or billing_account_id is not null or billing_choice = 'NONE');
comment on column account.registrations.landing_hash is 'Of the landing token, which begins one registration (DEC-64)';
comment on column account.registrations.subscription_id is 'Set when the cloud account is bound: before it the workspace is not made';
