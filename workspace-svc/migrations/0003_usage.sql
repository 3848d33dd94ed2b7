-- Usage as it is reported, the fences of days, and sealed days.
-- Locks: none, the tables are new. Size: usage_records millions of rows a day, kept 40 days in daily partitions.

create table workspace.meters (
    meter_id smallint not null,
    meter text not null,
    item text not null,
    reduction text not null,
    divisor bigint not null,
    data_type text,
    dimension_kind text not null,
    effective_from date not null,
    effective_until date,
    constraint meters_pkey primary key (meter_id),
    constraint meters_period_excl exclude using gist (meter with =, daterange(effective_from, effective_until) with &&),
    constraint meters_reduction_check check (reduction in ('SUM', 'MAX')),
    constraint meters_divisor_check check (divisor in (1, 10, 100)),
    constraint meters_dimension_check check (dimension_kind in ('NONE', 'LOG_INDEX', 'FORWARDING_RULE')),
    constraint meters_period_check check (effective_until > effective_from)
);
comment on table workspace.meters is 'What can be reported, and what it becomes: an item''s day is the largest, over its meters, of reduced value / divisor; reference';
comment on column workspace.meters.data_type is 'Whose retention sets the price; null for an item with one price';

-- The billing rules that are in force (MT-8): sum or maximum of 24 points; two companions since 2023-09-26 (IT-TR-2, IT-PV-2).
insert into workspace.meters (meter_id, meter, item, reduction, divisor, data_type, dimension_kind, effective_from) values
    (1, 'timeseries', 'timeseries', 'MAX', 1, 'METRICS', 'NONE', '2022-06-06'),
    (2, 'log', 'log', 'SUM', 1, 'LOGS', 'LOG_INDEX', '2022-06-06'),
    (3, 'log_ingest', 'log_ingest', 'SUM', 1, 'LOGS', 'LOG_INDEX', '2023-08-10'),
    (4, 'forward_external', 'forward_external', 'SUM', 1, null, 'FORWARDING_RULE', '2023-08-24'),
    (5, 'forward_internal', 'forward_internal', 'MAX', 1, null, 'FORWARDING_RULE', '2023-11-02'),
    (6, 'network_host', 'network_host', 'MAX', 1, null, 'NONE', '2022-12-15'),
    (7, 'trace', 'trace', 'SUM', 1, 'APM_TRACE', 'NONE', '2022-06-06'),
    (8, 'trace_span', 'trace', 'SUM', 10, 'APM_TRACE', 'NONE', '2023-09-26'),
    (9, 'profile', 'profile', 'SUM', 1, 'APM_PROFILE', 'NONE', '2022-12-15'),
    (10, 'pv', 'pv', 'SUM', 1, 'RUM', 'NONE', '2022-06-06'),
    (11, 'rum_event', 'pv', 'SUM', 100, 'RUM', 'NONE', '2023-09-26'),
    (12, 'session_replay', 'session_replay', 'MAX', 1, null, 'NONE', '2023-04-23'),
    (13, 'synthetic', 'synthetic', 'SUM', 1, null, 'NONE', '2022-06-06'),
    (14, 'trigger', 'trigger', 'SUM', 1, null, 'NONE', '2022-06-06'),
    (15, 'sms', 'sms', 'SUM', 1, null, 'NONE', '2022-06-06'),
    (16, 'scan', 'scan', 'SUM', 1, null, 'NONE', '2023-08-17'),
    (17, 'report', 'report', 'SUM', 1, null, 'NONE', '2023-08-10'),
    (18, 'pipeline', 'pipeline', 'SUM', 1, null, 'NONE', '2024-06-26');

create table workspace.usage_records (
    event_id uuid not null,
    workspace_id uuid not null,
    usage_date date not null,
    event_time timestamptz not null,
    quantity bigint not null,
    fingerprint bigint not null,
    meter_id smallint not null,
    is_late boolean not null,
    dimension text not null,
    constraint usage_records_pkey primary key (event_id, workspace_id, usage_date),
    constraint usage_records_quantity_check check (quantity between 0 and 999999999999999999),
    constraint usage_records_day_check check (usage_date = (event_time at time zone interval '08:00')::date)
) partition by range (usage_date);
comment on table workspace.usage_records is 'Every accepted record, once; the key begins with the time-ordered event id, so that its index appends; distributed by workspace_id';
comment on column workspace.usage_records.fingerprint is 'The first 8 bytes of a hash of the content: the same id with another content is refused';
comment on column workspace.usage_records.is_late is 'It came after its day was closed: not on the sealed day, for an adjustment';

create table workspace.usage_points (
    workspace_id uuid not null,
    usage_date date not null,
    meter_id smallint not null,
    dimension text not null,
    retention_days integer not null,
    hour smallint not null,
    is_late boolean not null,
    quantity bigint not null,
    revision bigint not null,
    constraint usage_points_pkey primary key (workspace_id, usage_date, meter_id, dimension, retention_days, hour, is_late),
    constraint usage_points_quantity_check check (quantity between 0 and 999999999999999999),
    constraint usage_points_revision_check check (revision between 0 and 999999999999999999),
    constraint usage_points_hour_check check (hour between 0 and 23)
);
comment on table workspace.usage_points is 'Hourly points, the highest revision of each; one that came after its day was closed stands beside the sealed one; distributed by workspace_id';

create table workspace.usage_sources (
    workspace_id uuid not null,
    usage_date date not null,
    item text not null,
    mode text not null,
    constraint usage_sources_pkey primary key (workspace_id, usage_date, item),
    constraint usage_sources_mode_check check (mode in ('RECORDS', 'POINTS'))
);
comment on table workspace.usage_sources is 'Whether an item of a workspace is fed by records or by points on a day: the first accepted kind decides (DEC-8); distributed by workspace_id';

create table workspace.day_fences (
    usage_date date not null,
    state text not null,
    closed_at timestamptz not null,
    sealed_at timestamptz,
    workspace_count integer,
    digest bytea,
    constraint day_fences_pkey primary key (usage_date),
    constraint day_fences_state_check check (state in ('CLOSING', 'SEALED')),
    constraint day_fences_manifest_check check ((state = 'SEALED')
        = (sealed_at is not null and workspace_count is not null and digest is not null)),
    constraint day_fences_digest_check check (octet_length(digest) = 32)
);
comment on table workspace.day_fences is 'Days that are closed to usage, and their manifests; a day without a row is open; reference';

create table workspace.sealed_days (
    workspace_id uuid not null,
    usage_date date not null,
    billing_account_id uuid not null,
    currency char(3) not null,
    site_class text not null,
    bound_at timestamptz not null,
    canonical text not null,
    digest bytea not null,
    sealed_at timestamptz not null,
    constraint sealed_days_pkey primary key (workspace_id, usage_date),
    constraint sealed_days_currency_check check (currency in ('CNY', 'USD')),
    constraint sealed_days_site_class_check check (site_class in ('CHINA', 'OVERSEAS')),
    constraint sealed_days_digest_check check (digest = sha256(convert_to(canonical, 'UTF8')))
);
create index sealed_days_usage_date_idx on workspace.sealed_days (usage_date, billing_account_id, bound_at, workspace_id);
comment on table workspace.sealed_days is 'What a workspace used on a day and who pays for it, for ever; kept 10 years; distributed by workspace_id';
comment on column workspace.sealed_days.canonical is 'The text that the digest is of';

create table workspace.sealed_lines (
    workspace_id uuid not null,
    usage_date date not null,
    item text not null,
    dimension text not null,
    retention_days integer not null,
    quantity numeric not null,
    constraint sealed_lines_pkey primary key (workspace_id, usage_date, item, dimension, retention_days),
    constraint sealed_lines_sealed_day_fkey foreign key (workspace_id, usage_date) references workspace.sealed_days,
    constraint sealed_lines_quantity_check check (quantity > 0 and quantity < 1e28 and scale(quantity) <= 2)
);
comment on table workspace.sealed_lines is 'One quantity per item, dimension and retention of a sealed day; distributed by workspace_id';
comment on column workspace.sealed_lines.quantity is 'What was counted, even past what can be billed (10^18): billing lists that as a failure, the seal holds back nothing';

grant select on workspace.meters to tallystick_workspace_app;
grant select, insert on workspace.usage_records to tallystick_workspace_app;
grant select, insert, update (quantity, revision) on workspace.usage_points to tallystick_workspace_app;
grant select, insert on workspace.usage_sources to tallystick_workspace_app;
grant select, insert, update on workspace.day_fences to tallystick_workspace_app;
grant select, insert on workspace.sealed_days to tallystick_workspace_app;
grant select, insert on workspace.sealed_lines to tallystick_workspace_app;

-- Partitions: the app role has no DDL, so this function, owned by the owner role, is its only way to make a day's partition. It
-- makes the table apart and attaches it, which unlike "create table ... partition of" does not keep ingest waiting.
create function workspace.make_usage_partition(day date) returns void
language plpgsql security definer set search_path = '' as $$
declare
    name constant text := 'usage_records_' || to_char(day, 'YYYYMMDD');
begin
    perform pg_advisory_xact_lock(3490, day - date '2000-01-01');
    if to_regclass('workspace.' || name) is not null then
        return;
    end if;
    execute format('create table workspace.%I (like workspace.usage_records including all)', name);
    execute format('alter table workspace.usage_records attach partition workspace.%I for values from (%L) to (%L)',
        name, day, day + 1);
end
$$;
comment on function workspace.make_usage_partition is 'Makes the partition of a day unless it is there; callers that race take turns';
revoke all on function workspace.make_usage_partition from public;
grant execute on function workspace.make_usage_partition to tallystick_workspace_app;
