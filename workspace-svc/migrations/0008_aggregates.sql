-- What usage adds up to, kept beside the records, so that neither a seal nor a reader goes through them; and what a meter counts of one quantity.
-- Locks: nothing is reported while what is there is added up. Size: hourly_usage one row per workspace, measure, dimension and hour with usage.
-- Roll-out: processes of the version before must be stopped first: they write records that are never added up, and know no steps of meters.
lock table workspace.usage_records, workspace.usage_points in share row exclusive mode;
alter table workspace.meters add column measure_id smallint;
alter table workspace.meters add column counting text not null default 'QUANTITY';
alter table workspace.meters add column weight bigint not null default 1;
alter table workspace.meters add column free_quantity bigint not null default 0;
alter table workspace.meters add column step bigint;
alter table workspace.meters add column rounding text;
alter table workspace.meters add column minimum bigint not null default 0;
update workspace.meters set measure_id = meter_id;
alter table workspace.meters alter column measure_id set not null;
alter table workspace.meters add constraint meters_measure_id_fkey foreign key (measure_id) references workspace.meters;
alter table workspace.meters add constraint meters_counting_check check (counting in ('QUANTITY', 'DISTINCT_DAY', 'DISTINCT_HOUR'));
alter table workspace.meters add constraint meters_weight_check check (weight between 1 and 1000);
alter table workspace.meters add constraint meters_free_quantity_check check (free_quantity >= 0 and (free_quantity = 0 or step is not null));
alter table workspace.meters add constraint meters_step_check check (step > 0 and (step is null) = (rounding is null));
alter table workspace.meters add constraint meters_rounding_check check (rounding in ('DOWN', 'UP'));
alter table workspace.meters add constraint meters_minimum_check check (minimum in (0, 1) and (minimum = 0 or step is not null));
comment on column workspace.meters.measure_id is 'The meter that it is summed with, and whose quota it shares: itself, unless it is another way to report the same thing';
comment on column workspace.meters.counting is 'What is counted: the quantity, or the distinct keys of a day or of each hour';
comment on column workspace.meters.weight is 'What one of it counts for';
comment on column workspace.meters.step is 'A reported quantity counts, beyond free_quantity, once per so much of it, at least minimum times; null counts it as it is';

insert into workspace.meters (meter_id, meter, item, reduction, divisor, data_type, dimension_kind, effective_from, effective_until,
    measure_id, counting, weight, free_quantity, step, rounding, minimum, trial_quota) values
    -- One record of so many bytes (IT-LOG-2, IT-PF-1): floor, at least one (DEC-3, DEC-4, DEC-5).
    (19, 'log_bytes', 'log', 'SUM', 1, 'LOGS', 'LOG_INDEX', '2022-06-06', null, 2, 'QUANTITY', 1, 0, 10240, 'DOWN', 1, 1000000),
    (20, 'log_bytes_sls', 'log', 'SUM', 1, 'LOGS', 'LOG_INDEX', '2022-06-06', null, 2, 'QUANTITY', 1, 0, 2048, 'DOWN', 1, 1000000),
    (21, 'profile_bytes', 'profile', 'SUM', 1, 'APM_PROFILE', 'NONE', '2022-12-15', null, 9, 'QUANTITY', 1, 0, 307200, 'DOWN', 1, 60),
    -- Distinct keys, counted here (IT-TS-1, IT-NET-1, IT-TR-3, IT-SR-1); a session by its length in seconds (IT-SR-2).
    (22, 'timeseries_key', 'timeseries', 'SUM', 1, 'METRICS', 'NONE', '2022-06-06', null, 22, 'DISTINCT_DAY', 1, 0, null, null, 0, 3000),
    (23, 'network_host_key', 'network_host', 'SUM', 1, null, 'NONE', '2022-12-15', null, 23, 'DISTINCT_DAY', 1, 0, null, null, 0, null),
    (24, 'trace_key', 'trace', 'SUM', 1, 'APM_TRACE', 'NONE', '2022-06-06', null, 24, 'DISTINCT_HOUR', 1, 0, null, null, 0, 8000),
    (25, 'session_replay_key', 'session_replay', 'SUM', 1, null, 'NONE', '2023-04-23', null, 25, 'DISTINCT_DAY', 1, 0, 14400, 'DOWN', 1, 1000),
    -- Calls by what was done (IT-TG-1, IT-TG-2): the generations of the rules are rows with days.
    (26, 'trigger_monitor', 'trigger', 'SUM', 1, null, 'NONE', '2022-06-06', null, 14, 'QUANTITY', 1, 0, null, null, 0, 100000),
    (27, 'trigger_monitor_advanced', 'trigger', 'SUM', 1, null, 'NONE', '2022-06-06', '2023-11-02', 14, 'QUANTITY', 1, 0, null, null, 0, 100000),
    (28, 'trigger_monitor_advanced', 'trigger', 'SUM', 1, null, 'NONE', '2023-11-02', null, 14, 'QUANTITY', 5, 0, null, null, 0, 100000),
    (29, 'trigger_interval_seconds', 'trigger', 'SUM', 1, null, 'NONE', '2023-11-02', null, 14, 'QUANTITY', 1, 900, 900, 'UP', 0, 100000),
    (30, 'trigger_smart', 'trigger', 'SUM', 1, null, 'NONE', '2024-01-31', null, 14, 'QUANTITY', 10, 0, null, null, 0, 100000),
    (31, 'trigger_smart_rum', 'trigger', 'SUM', 1, null, 'NONE', '2024-01-31', null, 14, 'QUANTITY', 100, 0, null, null, 0, 100000),
    (32, 'trigger_query', 'trigger', 'SUM', 1, null, 'NONE', '2023-11-02', null, 14, 'QUANTITY', 1, 0, null, null, 0, 100000),
    (33, 'trigger_notification', 'trigger', 'SUM', 1, null, 'NONE', '2022-06-06', '2024-11-06', 14, 'QUANTITY', 1, 0, null, null, 0, 100000),
    -- Hosts that are alive 12 hours or more; taken off with the rules of 2023-04-23 (IT-DK-1).
    (34, 'datakit', 'datakit', 'MAX', 1, null, 'NONE', '2022-06-06', '2023-04-23', 34, 'QUANTITY', 1, 0, null, null, 0, null);

create table workspace.usage_deltas (
    workspace_id uuid not null,
    usage_date date not null,
    meter_id smallint not null,
    dimension text not null,
    hour smallint not null,
    is_late boolean not null,
    sum numeric not null,
    max bigint not null,
    record_count bigint not null
);
create index usage_deltas_workspace_id_idx on workspace.usage_deltas (workspace_id, usage_date);
alter table workspace.usage_deltas set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
comment on table workspace.usage_deltas is 'What a transaction of ingest adds to the hours, written with its records and folded into hourly_usage within seconds; distributed by workspace_id';

create table workspace.hourly_usage (
    workspace_id uuid not null,
    usage_date date not null,
    meter_id smallint not null,
    dimension text not null,
    hour smallint not null,
    sum numeric not null,
    max bigint not null,
    record_count bigint not null,
    in_time_sum numeric not null,
    in_time_max bigint not null,
    in_time_count bigint not null,
    constraint hourly_usage_pkey primary key (workspace_id, usage_date, meter_id, dimension, hour),
    constraint hourly_usage_hour_check check (hour between 0 and 24),
    constraint hourly_usage_sum_check check (sum >= 0 and in_time_sum >= 0),
    constraint hourly_usage_max_check check (max >= 0 and in_time_max >= 0),
    constraint hourly_usage_count_check check (record_count >= 0 and in_time_count >= 0)
) partition by range (usage_date);
comment on table workspace.hourly_usage is 'What each hour adds up to: all that is accepted by now, and of it what came before the day was closed; in monthly partitions, kept 13 months; distributed by workspace_id';
comment on column workspace.hourly_usage.meter_id is 'The measure: the meter that others are summed with';
comment on column workspace.hourly_usage.hour is '0 to 23; 24 is the whole day of a meter that counts distinct keys of a day';

create table workspace.late_usage (
    workspace_id uuid not null,
    usage_date date not null,
    record_count bigint not null,
    point_count bigint not null,
    key_count bigint not null,
    void_count bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    constraint late_usage_pkey primary key (workspace_id, usage_date),
    constraint late_usage_count_check check (record_count >= 0 and point_count >= 0 and key_count >= 0 and void_count >= 0
        and record_count + point_count + key_count + void_count > 0),
    constraint late_usage_period_check check (last_at >= first_at)
);
create index late_usage_usage_date_idx on workspace.late_usage (usage_date, workspace_id);
comment on table workspace.late_usage is 'Days of workspaces that have changed since they were closed: an adjustment is due; distributed by workspace_id';
-- What came before this: the hours of records that are there, and the days that came late.
insert into workspace.late_usage (workspace_id, usage_date, record_count, point_count, key_count, void_count, first_at, last_at)
    select workspace_id, usage_date, sum(records), sum(points), 0, 0, now(), now() from (
        select workspace_id, usage_date, count(*) as records, 0 as points from workspace.usage_records where is_late group by 1, 2
        union all select workspace_id, usage_date, 0, count(*) from workspace.usage_points where is_late group by 1, 2) as late
    group by 1, 2;
insert into workspace.usage_deltas (workspace_id, usage_date, meter_id, dimension, hour, is_late, sum, max, record_count)
    select workspace_id, usage_date, meter_id, dimension, extract(hour from event_time at time zone interval '08:00')::smallint, is_late,
        sum(quantity), max(quantity), count(*) from workspace.usage_records group by 1, 2, 3, 4, 5, 6;

grant select, insert, delete on workspace.usage_deltas to tallystick_workspace_app;
grant select, insert, update (sum, max, record_count, in_time_sum, in_time_max, in_time_count) on workspace.hourly_usage to tallystick_workspace_app;
grant select, insert, update (record_count, point_count, key_count, void_count, last_at) on workspace.late_usage to tallystick_workspace_app;

-- Ingest takes the fences of its days and sees which are closed in one round trip; each statement of the function sees what was committed before it.
create function workspace.hold_fences(days date[]) returns setof date
language plpgsql set search_path = '' as $$
declare
    day date;
begin
    foreach day in array days loop
        -- The class is the one that the seal takes alone; the number is the day's in the Julian calendar.
        perform pg_advisory_xact_lock_shared(3489, to_char(day, 'J')::integer);
    end loop;
    return query select f.usage_date from workspace.day_fences f where f.usage_date = any (days);
end
$$;
comment on function workspace.hold_fences is 'Holds the fences of days, in the order given, until the transaction ends; answers which of them are closed';
revoke all on function workspace.hold_fences from public;
grant execute on function workspace.hold_fences to tallystick_workspace_app;

-- Partitions are made ahead by the one, and the old ones dropped by the other, without ever keeping ingest waiting.
create function workspace.make_partition(parent text, name text, first_day date, end_day date) returns void
language plpgsql set search_path = '' as $$
begin
    if to_regclass('workspace.' || name) is not null then
        return;
    end if;
    -- Never vacuumed for what is only inserted: a partition of records is dropped whole before that would pay.
    execute format('create table workspace.%I (like workspace.%I including all) with (autovacuum_vacuum_insert_threshold = -1)', name, parent);
    execute format('alter table workspace.%I attach partition workspace.%I for values from (%L) to (%L)', parent, name, first_day, end_day);
end
$$;
comment on function workspace.make_partition is 'Makes a partition apart and attaches it, unless it is there';
revoke all on function workspace.make_partition from public;

create or replace function workspace.make_usage_partition(day date) returns void
language plpgsql security definer set search_path = '' as $$
declare
    month constant date := date_trunc('month', day);
begin
    perform pg_advisory_xact_lock(3490, 0);
    perform workspace.make_partition('usage_records', 'usage_records_' || to_char(day, 'YYYYMMDD'), day, day + 1);
    perform workspace.make_partition('hourly_usage', 'hourly_usage_' || to_char(month, 'YYYYMM'), month, (month + interval '1 month')::date);
end
$$;
comment on function workspace.make_usage_partition is 'Makes the partitions that usage of a day needs, unless they are there; callers that race take turns';
select workspace.make_usage_partition(usage_date) from (select distinct usage_date from workspace.usage_records) as days;

-- Which records are there, by their key. Planned anew at each call and by the index alone: a plan that was kept from a day that had hardly begun
-- would go through the whole partition.
create function workspace.known_records(day date, event_ids uuid[], workspace_ids uuid[]) returns table (place bigint, fingerprint bigint, event_time timestamptz)
language sql stable set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    select k.place, r.fingerprint, r.event_time from unnest(event_ids, workspace_ids) with ordinality as k (event_id, workspace_id, place)
    join workspace.usage_records r on r.event_id = k.event_id and r.workspace_id = k.workspace_id and r.usage_date = day
$$;
comment on function workspace.known_records is 'Those records of a day that are there, by their place in the question, from 1';
revoke all on function workspace.known_records from public;
grant execute on function workspace.known_records to tallystick_workspace_app;
