-- How workspaces are settled, and what customers have bought on marketplaces.
-- Locks: replacing a check locks settlements and allocations for a moment; the tables are new. Size: few rows per workspace and customer.

create table settlement.subscriptions (
    subscription_id uuid not null,
    vendor text not null,
    cloud_account_id text not null,
    instance_id text not null,
    currency char(3) not null,
    state text not null,
    billing_account_id uuid,
    created_at timestamptz not null,
    ended_at timestamptz,
    constraint subscriptions_pkey primary key (subscription_id),
    constraint subscriptions_instance_key unique (vendor, cloud_account_id, instance_id),
    constraint subscriptions_vendor_check check (vendor in ('HUAWEI_CLOUD', 'ALIBABA_CLOUD', 'AWS', 'AZURE')),
    constraint subscriptions_currency_check check (currency in ('CNY', 'USD') and (vendor <> 'AZURE' or currency = 'USD')),
    constraint subscriptions_name_check check (length(cloud_account_id) between 1 and 128 and length(instance_id) between 1 and 128),
    constraint subscriptions_state_check check (state in ('ACTIVE', 'FROZEN', 'ENDED') and (state = 'ENDED') = (ended_at is not null))
);
create index subscriptions_payer_idx on settlement.subscriptions (billing_account_id, subscription_id);
comment on table settlement.subscriptions is 'What was bought on marketplaces, bound to a billing account or not yet; reference';

create table settlement.cloud_account_claims (
    vendor text not null,
    cloud_account_id text not null,
    billing_account_id uuid not null,
    claimed_at timestamptz not null,
    constraint cloud_account_claims_pkey primary key (vendor, cloud_account_id),
    constraint cloud_account_claims_vendor_check check (vendor in ('HUAWEI_CLOUD', 'ALIBABA_CLOUD', 'AWS', 'AZURE'))
);
create index cloud_account_claims_payer_idx on settlement.cloud_account_claims (billing_account_id, vendor, cloud_account_id);
comment on table settlement.cloud_account_claims is 'In which one billing account a cloud account is registered (DEC-63); local';

create table settlement.landing_claims (
    token_hash bytea not null,
    claimed_at timestamptz not null,
    constraint landing_claims_pkey primary key (token_hash),
    constraint landing_claims_hash_check check (octet_length(token_hash) = 32)
);
comment on table settlement.landing_claims is 'Landing tokens that were used, each once (DEC-64); local';

create table settlement.settlement_methods (
    workspace_id uuid not null,
    effective_from timestamptz not null,
    billing_account_id uuid not null,
    subscription_id uuid,
    cause text not null,
    changed_by text not null,
    constraint settlement_methods_pkey primary key (workspace_id, effective_from),
    constraint settlement_methods_subscription_id_fkey foreign key (subscription_id) references settlement.subscriptions,
    constraint settlement_methods_cause_check check (cause in ('ACTIVATION', 'HOLDER', 'UNLOCKING', 'SUBSCRIPTION_ENDED', 'OPERATOR')),
    constraint settlement_methods_activation_check check (cause <> 'ACTIVATION' or subscription_id is not null),
    constraint settlement_methods_end_check check (cause <> 'SUBSCRIPTION_ENDED' or subscription_id is null)
);
create unique index settlement_methods_activation_key on settlement.settlement_methods (workspace_id) where cause = 'ACTIVATION';
create index settlement_methods_subscription_idx on settlement.settlement_methods (subscription_id) where subscription_id is not null;
comment on table settlement.settlement_methods is 'Every method that a workspace has had, from when on; without a row its billing account pays; reference';
comment on column settlement.settlement_methods.subscription_id is 'Null: the billing account pays';

create table settlement.any_methods (
    billing_account_id uuid not null,
    allowed boolean not null,
    reason text not null,
    changed_at timestamptz not null,
    constraint any_methods_pkey primary key (billing_account_id),
    constraint any_methods_reason_check check (length(reason) between 1 and 200)
);
comment on table settlement.any_methods is 'Whose workspaces any vendor may settle, whatever their site (SM-5); distributed by billing_account_id';

alter table settlement.settlements add column subscription_id uuid;
alter table settlement.settlements add constraint settlements_subscription_id_fkey
    foreign key (subscription_id) references settlement.subscriptions;
alter table settlement.settlements drop constraint settlements_method_check;
alter table settlement.settlements add constraint settlements_method_check
    check (method in ('BILLING_ACCOUNT', 'CLOUD_ACCOUNT') and (method = 'CLOUD_ACCOUNT') = (subscription_id is not null));
alter table settlement.settlements add constraint settlements_cloud_check check (method <> 'CLOUD_ACCOUNT' or owed = 0);
alter table settlement.allocations drop constraint allocations_source_check;
alter table settlement.allocations add constraint allocations_source_check
    check (source in ('PLAIN_VOUCHER', 'FULL_REDUCTION_VOUCHER', 'PREPAID_CARD', 'CASH', 'CLOUD_ACCOUNT')
        and (source = 'CASH') = (source_id is null));

grant select, insert, update (state, billing_account_id, ended_at) on settlement.subscriptions to tallystick_settlement_app;
grant select, insert on settlement.cloud_account_claims to tallystick_settlement_app;
grant select, insert on settlement.landing_claims to tallystick_settlement_app;
grant select, insert on settlement.settlement_methods to tallystick_settlement_app;
grant select, insert, update (allowed, reason, changed_at) on settlement.any_methods to tallystick_settlement_app;
