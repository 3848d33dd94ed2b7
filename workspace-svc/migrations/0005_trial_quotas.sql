-- What a trial has of each meter a day, and what it has used of it.
-- Locks: adding a column locks meters for a moment; the table is new. Size: a few rows per trial and day.

alter table workspace.meters add column trial_quota bigint;
update workspace.meters set trial_quota = case item
    when 'timeseries' then 3000
    when 'log' then 1000000
    when 'trace' then 8000
    when 'profile' then 60
    when 'pv' then 2000
    when 'session_replay' then 1000
    when 'synthetic' then 200000
    when 'trigger' then 100000
    when 'forward_external' then 0
    when 'forward_internal' then 0
    when 'sms' then 0
    end * divisor;
alter table workspace.meters add constraint meters_trial_quota_check check (trial_quota >= 0);
comment on column workspace.meters.trial_quota is 'In units of the meter: of a sum per day, of a maximum at any time; 0 is not part of the trial, null has no limit (PLAN-3)';

create table workspace.trial_usage (
    workspace_id uuid not null,
    usage_date date not null,
    meter_id smallint not null,
    quantity bigint not null,
    constraint trial_usage_pkey primary key (workspace_id, usage_date, meter_id),
    constraint trial_usage_workspace_id_fkey foreign key (workspace_id) references workspace.workspaces,
    constraint trial_usage_quantity_check check (quantity between 0 and 999999999999999999)
);
comment on table workspace.trial_usage is 'What a trial has used of a day''s quota: its row lock lets no two batches take the same rest (PLAN-6); distributed by workspace_id';

grant select, insert, update (quantity) on workspace.trial_usage to tallystick_workspace_app;
