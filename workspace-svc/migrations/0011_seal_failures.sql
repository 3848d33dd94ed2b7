-- Workspaces whose day could not be sealed: they count in the manifest, are tried again, and hold back no other.
-- Locks: a new column and two checks lock day_fences for a moment, a row per day. Size: no row while nothing is wrong.
-- Roll-out: processes of the version before seal no day any more, since their manifests lack failure_count; the new ones go on with what they began.
create table workspace.seal_failures (
    workspace_id uuid not null,
    usage_date date not null,
    reason text not null,
    problem text not null,
    failed_at timestamptz not null,
    tries integer not null,
    constraint seal_failures_pkey primary key (workspace_id, usage_date),
    constraint seal_failures_reason_check check (reason in ('NO_PAYER', 'TOO_LARGE', 'FAULT')),
    constraint seal_failures_problem_check check (length(problem) between 1 and 500),
    constraint seal_failures_tries_check check (tries > 0)
);
create index seal_failures_usage_date_idx on workspace.seal_failures (usage_date, workspace_id);
comment on table workspace.seal_failures is 'Days of workspaces that could not be sealed, until they are; distributed by workspace_id';
comment on column workspace.seal_failures.failed_at is 'When it was tried last; tries says how often';

alter table workspace.day_fences add column failure_count integer;
update workspace.day_fences set failure_count = 0 where state = 'SEALED';
alter table workspace.day_fences drop constraint day_fences_manifest_check;
alter table workspace.day_fences add constraint day_fences_manifest_check check ((state = 'SEALED')
    = (sealed_at is not null and workspace_count is not null and digest is not null and failure_count is not null));
alter table workspace.day_fences add constraint day_fences_failure_count_check check (failure_count between 0 and workspace_count);
comment on column workspace.day_fences.failure_count is 'How many of workspace_count are in seal_failures: a manifest with any is written again when one is sealed';

grant select, insert, update (reason, problem, failed_at, tries), delete on workspace.seal_failures to tallystick_workspace_app;

-- What a workspace that is still to be sealed is sealed from is kept, its hours as well.
create or replace function workspace.detach_usage_partition(name text) returns boolean
language plpgsql security definer set search_path = '' set lock_timeout = '20ms' as $$
declare
    parent constant text := regexp_replace(name, '_[0-9]+$', '');
    day constant date := to_date(rpad(regexp_replace(name, '^.*_', ''), 8, '01'), 'YYYYMMDD');
    end_day constant date := case when parent = 'hourly_usage' then (day + interval '1 month')::date else day + 1 end;
begin
    if parent not in ('usage_records', 'usage_keys', 'hourly_usage') or to_regclass('workspace.' || name) is null then
        raise exception 'no partition %', name using errcode = 'undefined_table';
    end if;
    if parent <> 'hourly_usage' and not exists (select 1 from workspace.day_fences f where f.usage_date = day and f.state = 'SEALED')
       and exists (select 1 from workspace.workspaces w where (w.created_at at time zone interval '08:00')::date <= day) then
        raise exception '% is not sealed', day using errcode = 'object_not_in_prerequisite_state';
    end if;
    if exists (select 1 from workspace.seal_failures s where s.usage_date >= day and s.usage_date < end_day) then
        raise exception 'not every workspace of % is sealed', name using errcode = 'object_not_in_prerequisite_state';
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
