-- What a workspace used, read in one question: three, each planned anew for a table in many partitions, cost more than what they found.
-- Locks: none. Size: none. Roll-out: processes of the version before go on with their own questions.

-- Of days that have not changed since they were sealed, and of those that have; of whole months only the sums, without their days that have changed.
create function workspace.read_lines(asked_workspace uuid, first_day date, last_day date, months_from date, months_until date, changed date[],
    asked_item text, asked_dimension text)
returns table (kind text, item text, dimension text, retention_days integer, dates date[], quantities numeric[])
language plpgsql stable as $$
#variable_conflict use_column
begin
    return query
        select 'CHANGED', l.item, l.dimension, l.retention_days, array_agg(l.usage_date), array_agg(l.quantity)
        from workspace.sealed_lines l where l.workspace_id = asked_workspace and l.usage_date = any (changed)
            and (asked_item is null or l.item = asked_item) and (asked_dimension is null or l.dimension = asked_dimension)
        group by l.item, l.dimension, l.retention_days;
    return query
        select 'UNCHANGED', l.item, l.dimension, l.retention_days, array_agg(l.usage_date), array_agg(l.quantity)
        from (
            select s.usage_date, s.item, s.dimension, s.retention_days, s.quantity from workspace.sealed_lines s
            where s.workspace_id = asked_workspace and s.usage_date between first_day and months_from - 1
            union all
            select s.usage_date, s.item, s.dimension, s.retention_days, s.quantity from workspace.sealed_lines s
            where s.workspace_id = asked_workspace and s.usage_date between months_until and last_day
        ) as l where l.usage_date <> all (changed)
            and (asked_item is null or l.item = asked_item) and (asked_dimension is null or l.dimension = asked_dimension)
        group by l.item, l.dimension, l.retention_days;
    if months_from = months_until then
        return;
    end if;
    return query
        select 'UNCHANGED', m.item, m.dimension, m.retention_days, array_agg(m.month), array_agg(m.quantity)
        from (
            select p.month, p.item, p.dimension, p.retention_days, sum(p.quantity) as quantity from (
                select s.month, s.item, s.dimension, s.retention_days, s.quantity from workspace.sealed_months s
                where s.workspace_id = asked_workspace and s.month >= months_from and s.month < months_until
                union all
                select l.month, l.item, l.dimension, l.retention_days, -l.quantity from workspace.sealed_lines l
                where l.workspace_id = asked_workspace and l.usage_date = any (changed) and l.month >= months_from and l.month < months_until
            ) as p where (asked_item is null or p.item = asked_item) and (asked_dimension is null or p.dimension = asked_dimension)
            group by 1, 2, 3, 4 having sum(p.quantity) <> 0
        ) as m group by m.item, m.dimension, m.retention_days;
end
$$;
comment on function workspace.read_lines is 'What the seal tells of a workspace: lines by date, and sums of whole months by their first';
revoke all on function workspace.read_lines from public;
grant execute on function workspace.read_lines to tallystick_workspace_app;

-- A slot is 25 times the day plus the hour. Day for day, since the key has a day's rows in the order in which they are grouped; the outer days are named
-- for the sake of the partitions that need not be looked at.
create function workspace.read_hours(asked_workspace uuid, first_day date, hour_days date[], divided date[])
returns table (meter_id smallint, dimension text, retention_days integer, slots integer[], sums numeric[], maxima bigint[])
language plpgsql stable as $$
#variable_conflict use_column
declare
    outer_first date;
    outer_last date;
begin
    select min(d), max(d) into outer_first, outer_last from unnest(hour_days) as d;
    return query
        select h.meter_id, h.dimension, 0, h.slots, h.sums, h.maxima
        from unnest(hour_days) as d (day) cross join lateral (
            select u.meter_id, u.dimension, array[(d.day - first_day) * 25, (d.day - first_day) * 25 + 24] as slots,
                array[coalesce(sum(u.sum) filter (where u.hour < 24), 0), coalesce(sum(u.sum) filter (where u.hour = 24), 0)] as sums,
                array[coalesce(max(u.max) filter (where u.hour < 24), 0), coalesce(max(u.max) filter (where u.hour = 24), 0)] as maxima
            from workspace.hourly_usage u
            where u.workspace_id = asked_workspace and u.usage_date = d.day and u.usage_date between outer_first and outer_last
            group by u.meter_id, u.dimension
        ) as h where d.day <> all (divided);
    return query
        select h.meter_id, h.dimension, 0, h.slots, h.sums, h.maxima
        from unnest(divided) as d (day) cross join lateral (
            select u.meter_id, u.dimension, array_agg((d.day - first_day) * 25 + u.hour) as slots, array_agg(u.sum) as sums, array_agg(u.max) as maxima
            from workspace.hourly_usage u
            where u.workspace_id = asked_workspace and u.usage_date = d.day and u.usage_date between outer_first and outer_last
            group by u.meter_id, u.dimension
        ) as h;
    return query
        select h.meter_id, h.dimension, 0, array[(h.usage_date - first_day) * 25 + h.hour], array[sum(h.sum)], array[max(h.max)]
        from workspace.usage_deltas h where h.workspace_id = asked_workspace and h.usage_date = any (hour_days)
        group by h.usage_date, h.meter_id, h.dimension, h.hour;
    return query
        select p.meter_id, p.dimension, p.retention_days, array[(p.usage_date - first_day) * 25 + p.hour], array[p.quantity::numeric], array[p.quantity]
        from (
            select distinct on (u.usage_date, u.meter_id, u.dimension, u.retention_days, u.hour)
                u.usage_date, u.meter_id, u.dimension, u.retention_days, u.hour, u.quantity
            from workspace.usage_points u where u.workspace_id = asked_workspace and u.usage_date = any (hour_days)
            order by u.usage_date, u.meter_id, u.dimension, u.retention_days, u.hour, u.revision desc
        ) as p;
end
$$;
comment on function workspace.read_hours is 'What a workspace used on some days: of records and keys the sums, folded or not, of points the highest revisions; hour for hour on days that are divided, all hours at the first on others';
revoke all on function workspace.read_hours from public;
grant execute on function workspace.read_hours to tallystick_workspace_app;

-- Plans are made once per connection, also those of the functions that it asks, and leave out partitions when they begin; they go by the keys alone, since a
-- plan may be older than what a partition holds now. Stable: all of it sees the same moment, so that a day that is sealed meanwhile is in all of it or in
-- nothing. Everything is named in full, and no search path is set: that would cost as much as one of the questions.
create function workspace.read_usage(asked_workspace uuid, first_day date, last_day date, by_hour boolean, months_from date, months_until date,
    asked_item text, asked_dimension text)
returns table (kind text, name text, dimension text, retention_days integer, meter_id smallint, dates date[], changed_dates date[], slots integer[],
    quantities numeric[], maxima bigint[], commercial_from timestamptz, effective_from timestamptz, changed_at timestamptz)
language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    sealed date[];
    changed date[];
    first_hour_day date;
    hour_days date[];
    divided date[];
begin
    return query
        select 'POLICY', p.data_type, p.dimension, p.days, null::smallint, null::date[], null::date[], null::integer[], null::numeric[], null::bigint[],
            w.commercial_from, p.effective_from, p.changed_at
        from workspace.workspaces w left join workspace.retention_policies p using (workspace_id) where w.workspace_id = asked_workspace;
    if not found then
        return;
    end if;

    sealed := array(select s.usage_date from workspace.sealed_days s where s.workspace_id = asked_workspace and s.usage_date between first_day and last_day
        order by s.usage_date);
    changed := array(select l.usage_date from workspace.late_usage l where l.workspace_id = asked_workspace
        and l.usage_date between first_day and last_day and l.usage_date = any (sealed));
    return query select 'DAYS', null, null, null::integer, null::smallint, sealed, changed, null::integer[], null::numeric[], null::bigint[],
        null::timestamptz, null::timestamptz, null::timestamptz;
    return query
        select l.kind, l.item, l.dimension, l.retention_days, null::smallint, l.dates, null::date[], null::integer[], l.quantities, null::bigint[],
            null::timestamptz, null::timestamptz, null::timestamptz
        from workspace.read_lines(asked_workspace, first_day, last_day, months_from, months_until, changed, asked_item, asked_dimension) as l;

    -- A day earlier than it was made, for clocks that differ: before that a workspace has used nothing but what was brought sealed.
    select greatest(first_day, (w.created_at at time zone interval '08:00')::date - 1) into first_hour_day
    from workspace.workspaces w where w.workspace_id = asked_workspace;
    hour_days := array(select d.day from (select first_hour_day + i as day from generate_series(0, last_day - first_hour_day) as i) as d
        where by_hour or d.day not in (select unnest(sealed)));
    if by_hour then
        divided := hour_days;
    else
        hour_days := hour_days || changed;
        -- Days on which another rule may begin to hold.
        divided := array(select d.day from unnest(hour_days) as d (day) where d.day in (
            select (p.effective_from at time zone interval '08:00')::date from workspace.retention_policies p where p.workspace_id = asked_workspace
            union all
            select (w.commercial_from at time zone interval '08:00')::date from workspace.workspaces w where w.workspace_id = asked_workspace));
    end if;
    return query
        select 'HOURS', null, h.dimension, h.retention_days, h.meter_id, null::date[], null::date[], h.slots, h.sums, h.maxima, null::timestamptz,
            null::timestamptz, null::timestamptz
        from workspace.read_hours(asked_workspace, first_day, hour_days, divided) as h;
end
$$;
comment on function workspace.read_usage is 'What a workspace used from one day to another: its policies, which days are sealed and which of them have changed since, what the seal tells of them, and the hours of the others and of those that have changed; nothing when there is no such workspace';
revoke all on function workspace.read_usage from public;
grant execute on function workspace.read_usage to tallystick_workspace_app;
