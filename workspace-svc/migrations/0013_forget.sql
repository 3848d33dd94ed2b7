-- What is known of old days and stands in no partition is forgotten, some thousand rows at a time: how their items were fed, what trials had used, and
-- suspects after 40 days, points after 13 months (DEC-73).
-- Locks: nothing is written to a table while its index is built, about a second per million rows; whoever reports usage waits, or tries again. Size: three
-- indexes of a few bytes per row, since rows of a day share their key.
-- Of the day alone: an index that began with day and workspace would be taken for a way to find one row, while a table has no statistics yet.
create index usage_points_usage_date_idx on workspace.usage_points (usage_date);
create index usage_sources_usage_date_idx on workspace.usage_sources (usage_date);
create index trial_usage_usage_date_idx on workspace.trial_usage (usage_date);

comment on table workspace.usage_points is 'Hourly points, the highest revision of each; one that came after its day was closed stands beside the sealed one; kept 13 months; distributed by workspace_id';
comment on table workspace.usage_sources is 'Whether an item of a workspace is fed by records or by points on a day: the first accepted kind decides (DEC-8); kept 40 days; distributed by workspace_id';
comment on table workspace.trial_usage is 'What a trial has used of a day''s quota: its row lock lets no two batches take the same rest (PLAN-6); kept 40 days; distributed by workspace_id';
comment on table workspace.usage_suspects is 'Records whose id was counted on the neighbouring day as well, both within an hour of midnight; kept 40 days; distributed by workspace_id';

create function workspace.billing_day() returns date
language sql stable set search_path = '' as $$
    select ((now() + d.clock_offset_micros * interval '1 microsecond' - interval '1 hour') at time zone interval '08:00')::date
    from workspace.deployment d
$$;
comment on function workspace.billing_day is 'The billing day by the clock of this database; here it begins an hour late, so that nobody whose clock is behind still asks for what is gone';
revoke all on function workspace.billing_day from public;
grant execute on function workspace.billing_day to tallystick_workspace_app;

-- Asked of the fences, of which there are few, one row of each table at most: so a day that is not sealed holds back no other. Of a day before the first
-- workspace came there is nothing.
create function workspace.next_day_to_forget() returns date
language plpgsql stable set search_path = '' set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    today constant date := workspace.billing_day();
begin
    return (select f.usage_date from workspace.day_fences f
        where f.state = 'SEALED' and f.usage_date < today - 40
          and not exists (select 1 from workspace.seal_failures x where x.usage_date = f.usage_date) and coalesce(
            (select true from workspace.usage_sources s where s.usage_date = f.usage_date limit 1),
            (select true from workspace.trial_usage u where u.usage_date = f.usage_date limit 1),
            (select true from workspace.usage_suspects s where s.usage_date = f.usage_date limit 1),
            (select true from workspace.usage_points p where p.usage_date = f.usage_date and f.usage_date < today - 397 limit 1),
            false)
        order by f.usage_date limit 1);
end
$$;
comment on function workspace.next_day_to_forget is 'The oldest sealed day of which something is left that has been kept long enough; null when there is none';
revoke all on function workspace.next_day_to_forget from public;
grant execute on function workspace.next_day_to_forget to tallystick_workspace_app;

-- The app role may not delete: this is its only way. What is locked is left for the next time. Both go by the indexes alone: a plan that was kept from other
-- days would go through the whole table.
create function workspace.forget_usage(day date, rows_max integer) returns integer
language plpgsql strict security definer set search_path = '' set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    today constant date := workspace.billing_day();
    rows_left integer := rows_max;
    gone integer;
begin
    if day >= today - 40 then
        raise exception '% has not been kept for 40 days', day using errcode = 'object_not_in_prerequisite_state';
    end if;
    if not exists (select 1 from workspace.day_fences f where f.usage_date = day and f.state = 'SEALED')
       and exists (select 1 from workspace.workspaces w where (w.created_at at time zone interval '08:00')::date <= day) then
        raise exception '% is not sealed', day using errcode = 'object_not_in_prerequisite_state';
    end if;
    if exists (select 1 from workspace.seal_failures x where x.usage_date = day) then
        raise exception 'not every workspace of % is sealed', day using errcode = 'object_not_in_prerequisite_state';
    end if;
    delete from workspace.usage_sources where ctid = any (array(
        select s.ctid from workspace.usage_sources s where s.usage_date = day limit rows_left for update skip locked));
    get diagnostics gone = row_count;
    rows_left := rows_left - gone;
    delete from workspace.trial_usage where ctid = any (array(
        select u.ctid from workspace.trial_usage u where u.usage_date = day limit rows_left for update skip locked));
    get diagnostics gone = row_count;
    rows_left := rows_left - gone;
    delete from workspace.usage_suspects where ctid = any (array(
        select s.ctid from workspace.usage_suspects s where s.usage_date = day limit rows_left for update skip locked));
    get diagnostics gone = row_count;
    rows_left := rows_left - gone;
    -- They are what the hours of a day are read from, and what came late to it: kept as long as hours are.
    if day < today - 397 then
        delete from workspace.usage_points where ctid = any (array(
            select p.ctid from workspace.usage_points p where p.usage_date = day limit rows_left for update skip locked));
        get diagnostics gone = row_count;
        rows_left := rows_left - gone;
    end if;
    return rows_max - rows_left;
end
$$;
comment on function workspace.forget_usage is 'Forgets so many rows of a sealed day at most, and answers how many; refuses a day that is not sealed or has not been kept long enough';
revoke all on function workspace.forget_usage from public;
grant execute on function workspace.forget_usage to tallystick_workspace_app;
