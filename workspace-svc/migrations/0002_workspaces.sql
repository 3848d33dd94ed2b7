-- Workspaces, who pays for them, and how long they keep data.
-- Locks: none, the tables are new. Size: one row per workspace, few per change.

create table workspace.workspaces (
    workspace_id uuid not null,
    owner_console_account_id uuid not null,
    name text not null,
    site text not null,
    commercial_from timestamptz,
    created_at timestamptz not null,
    constraint workspaces_pkey primary key (workspace_id),
    constraint workspaces_name_check check (length(name) between 1 and 100),
    constraint workspaces_commercial_check check (commercial_from = date_trunc('hour', commercial_from at time zone 'UTC') at time zone 'UTC')
);
create index workspaces_commercial_idx on workspace.workspaces (commercial_from) where commercial_from is not null;
comment on table workspace.workspaces is 'The unit of metering and billing (WS-1); reference';
comment on column workspace.workspaces.commercial_from is 'From when on usage is charged, a full hour; null while it is a trial';

create table workspace.bindings (
    workspace_id uuid not null,
    billing_account_id uuid not null,
    currency char(3) not null,
    effective_from timestamptz not null,
    effective_until timestamptz,
    created_at timestamptz not null,
    constraint bindings_pkey primary key (workspace_id, effective_from),
    constraint bindings_workspace_id_fkey foreign key (workspace_id) references workspace.workspaces,
    constraint bindings_currency_check check (currency in ('CNY', 'USD')),
    constraint bindings_hour_check check (effective_from = date_trunc('hour', effective_from at time zone 'UTC') at time zone 'UTC'),
    constraint bindings_period_check check (effective_until > effective_from),
    constraint bindings_overlap_excl exclude using gist (workspace_id with =, tstzrange(effective_from, effective_until) with &&)
);
create unique index bindings_open_key on workspace.bindings (workspace_id) where effective_until is null;
comment on table workspace.bindings is 'Which billing account pays from when to when; intervals of a workspace never overlap; reference';

create table workspace.retention_policies (
    workspace_id uuid not null,
    data_type text not null,
    dimension text not null,
    days integer not null,
    effective_from timestamptz not null,
    changed_at timestamptz,
    constraint retention_policies_pkey primary key (workspace_id, data_type, dimension, effective_from),
    constraint retention_policies_workspace_id_fkey foreign key (workspace_id) references workspace.workspaces,
    constraint retention_policies_data_type_check check (data_type in
        ('METRICS', 'LOGS', 'FORWARDING', 'EVENTS', 'APM_TRACE', 'APM_PROFILE', 'RUM', 'SECURITY_CHECK')),
    constraint retention_policies_dimension_check check (dimension = '' or data_type = 'LOGS'),
    constraint retention_policies_days_check check (days between 1 and 3600),
    constraint retention_policies_hour_check check (effective_from = date_trunc('hour', effective_from at time zone 'UTC') at time zone 'UTC')
);
comment on table workspace.retention_policies is 'How long data of a type is kept, from when on; the newest that is effective holds; reference';
comment on column workspace.retention_policies.changed_at is 'When its owner asked for it; null for what a workspace begins with';

grant select, insert on workspace.workspaces to tallystick_workspace_app;
grant update (commercial_from) on workspace.workspaces to tallystick_workspace_app;
grant select, insert on workspace.bindings to tallystick_workspace_app;
grant update (effective_until) on workspace.bindings to tallystick_workspace_app;
grant select, insert, update (days, changed_at) on workspace.retention_policies to tallystick_workspace_app;
