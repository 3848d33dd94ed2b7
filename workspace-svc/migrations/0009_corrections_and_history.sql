-- Records that are taken back, ids that came twice near midnight, days brought from elsewhere, and partitions that are dropped.
-- Locks: adding columns locks sealed_days for a moment; the tables are new. Size: one row per record that is taken back; few suspects.
create table workspace.usage_voids (
    workspace_id uuid not null,
    usage_date date not null,
    event_id uuid not null,
    meter_id smallint not null,
    dimension text not null,
    hour smallint not null,
    counted bigint not null,
    is_late boolean not null,
    reason text not null,
    caller text not null,
    voided_at timestamptz not null,
    constraint usage_voids_pkey primary key (workspace_id, usage_date, event_id),
    constraint usage_voids_counted_check check (counted between 0 and 999999999999999999),
    constraint usage_voids_hour_check check (hour between 0 and 23),
    constraint usage_voids_reason_check check (length(reason) between 1 and 500),
    constraint usage_voids_caller_check check (length(caller) between 1 and 200)
);
comment on table workspace.usage_voids is 'Records that were counted and taken back, for ever; their ids stay known; distributed by workspace_id';
comment on column workspace.usage_voids.meter_id is 'The measure that it was taken from';
comment on column workspace.usage_voids.is_late is 'Taken back after its day was closed: still on the sealed day, for an adjustment';

create table workspace.usage_keys (
    workspace_id uuid not null,
    usage_date date not null,
    meter_id smallint not null,
    dimension text not null,
    key_hash uuid not null,
    hours integer not null,
    late_hours integer not null,
    counted bigint not null,
    in_time_counted bigint not null,
    constraint usage_keys_pkey primary key (workspace_id, meter_id, dimension, key_hash, usage_date),
    constraint usage_keys_hours_check check (hours between 0 and 16777215 and late_hours between 0 and 16777215 and hours | late_hours > 0),
    constraint usage_keys_counted_check check (counted between 0 and 999999999999999999 and in_time_counted between 0 and counted)
) partition by range (usage_date);
comment on table workspace.usage_keys is 'Keys that were seen on a day, each once, with the hours in which it was; in daily partitions, kept 40 days; distributed by workspace_id';
comment on column workspace.usage_keys.key_hash is 'The first 16 bytes of SHA-256 of the key: two of a workspace''s keys are taken for one with a chance of 2^-64 at 2^32 keys';
comment on column workspace.usage_keys.hours is 'A bit for each hour in which it was seen in time; late_hours those in which it was seen after the close alone';
comment on column workspace.usage_keys.counted is 'What it counts for, by the largest size that it was seen with; in_time_counted by the largest that came in time';

create table workspace.usage_suspects (
    workspace_id uuid not null,
    usage_date date not null,
    event_id uuid not null,
    other_date date not null,
    noted_at timestamptz not null,
    constraint usage_suspects_pkey primary key (workspace_id, usage_date, event_id),
    constraint usage_suspects_days_check check (abs(usage_date - other_date) = 1)
);
create index usage_suspects_usage_date_idx on workspace.usage_suspects (usage_date, workspace_id, event_id);
comment on table workspace.usage_suspects is 'Records whose id was counted on the neighbouring day as well, both within an hour of midnight; distributed by workspace_id';

alter table workspace.sealed_days add column origin text not null default 'MEASURED';
alter table workspace.sealed_days add column source text;
alter table workspace.sealed_days add constraint sealed_days_origin_check check (origin in ('MEASURED', 'IMPORTED'));
alter table workspace.sealed_days add constraint sealed_days_source_check check ((origin = 'IMPORTED') = (source is not null)
    and coalesce(length(source) between 1 and 200, true));
comment on column workspace.sealed_days.origin is 'IMPORTED days were billed elsewhere: they are read, and are in no manifest';

grant select, insert on workspace.usage_voids to tallystick_workspace_app;
grant select, insert, update (hours, late_hours, counted, in_time_counted) on workspace.usage_keys to tallystick_workspace_app;
grant select, insert on workspace.usage_suspects to tallystick_workspace_app;

create or replace function workspace.make_usage_partition(day date) returns void
language plpgsql security definer set search_path = '' as $$
declare
    month constant date := date_trunc('month', day);
begin
    perform pg_advisory_xact_lock(3490, 0);
    perform workspace.make_partition('usage_records', 'usage_records_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    perform workspace.make_partition('usage_keys', 'usage_keys_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    perform workspace.make_partition('hourly_usage', 'hourly_usage_' || to_char(month, 'YYYYMM'), month, (month + interval '1 month')::date);
end
$$;

-- An old partition goes in two steps: it is detached, which waits for ingest and gives up before ingest would wait for it, and dropped when nothing
-- can see it any more. Records and keys of a day go only when it is sealed, or was over before the first workspace came. Hours go by their age alone.
create function workspace.detach_usage_partition(name text) returns boolean
language plpgsql security definer set search_path = '' set lock_timeout = '20ms' as $$
declare
    parent constant text := regexp_replace(name, '_[0-9]+$', '');
    day constant date := to_date(rpad(regexp_replace(name, '^.*_', ''), 8, '01'), 'YYYYMMDD');
begin
    if parent not in ('usage_records', 'usage_keys', 'hourly_usage') or to_regclass('workspace.' || name) is null then
        raise exception 'no partition %', name using errcode = 'undefined_table';
    end if;
    if parent <> 'hourly_usage' and not exists (select 1 from workspace.day_fences f where f.usage_date = day and f.state = 'SEALED')
       and exists (select 1 from workspace.workspaces w where (w.created_at at time zone interval '08:00')::date <= day) then
        raise exception '% is not sealed', day using errcode = 'object_not_in_prerequisite_state';
    end if;
    if exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = to_regclass('workspace.' || name)) then
        begin
            execute format('alter table workspace.%I detach partition workspace.%I', parent, name);
        exception when lock_not_available then
            return false;
        end;
    end if;
    return true;
end
$$;
comment on function workspace.detach_usage_partition is 'Detaches the partition of a sealed day; false when that would have to wait';
revoke all on function workspace.detach_usage_partition from public;
grant execute on function workspace.detach_usage_partition to tallystick_workspace_app;

create function workspace.drop_detached_partition(name text) returns void
language plpgsql security definer set search_path = '' as $$
begin
    if name !~ '^(usage_records|usage_keys|hourly_usage)_[0-9]{6,8}$'
       or exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = to_regclass('workspace.' || name)) then
        raise exception '% is no detached partition', name using errcode = 'object_not_in_prerequisite_state';
    end if;
    execute format('drop table if exists workspace.%I', name);
end
$$;
comment on function workspace.drop_detached_partition is 'Drops a partition that was detached before';
revoke all on function workspace.drop_detached_partition from public;
grant execute on function workspace.drop_detached_partition to tallystick_workspace_app;

create function workspace.old_usage_partitions(records_before date, hours_before date) returns setof text
language sql stable set search_path = '' as $$
    select c.relname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'workspace' and c.relkind = 'r'
      and ((c.relname ~ '^usage_(records|keys)_[0-9]{8}$' and right(c.relname, 8) < to_char(records_before, 'YYYYMMDD'))
        or (c.relname ~ '^hourly_usage_[0-9]{6}$' and right(c.relname, 6) < to_char(hours_before, 'YYYYMM')))
    order by 1
$$;
comment on function workspace.old_usage_partitions is 'Partitions of days and months before these, attached or not';
revoke all on function workspace.old_usage_partitions from public;
grant execute on function workspace.old_usage_partitions to tallystick_workspace_app;

-- What is taken back of a maximum is found again among the quantities as they were reported.
alter table workspace.meters add constraint meters_max_check check (reduction = 'SUM' or (step is null and weight = 1));
