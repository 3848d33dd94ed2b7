-- A small batch of records whose workspaces are known is checked and written in one statement, which is a transaction by itself: begun, asked, copied, added up
-- and committed one after the other, it spent most of its time on the way.
-- Locks: none. Size: none. Roll-out: processes of the version before go on with their own questions.

-- What decides whether usage of workspaces is taken, as a fingerprint: it is another one as soon as anything that `workspace.hold_intakes` answers is.
create function workspace.intake_states(workspace_ids uuid[]) returns table (workspace_id uuid, state uuid)
language sql stable as $$
    select w.workspace_id, encode(substr(sha256(convert_to(
        row(w.site, w.created_at, w.commercial_from, c.closures, b.bindings)::text, 'UTF8')), 1, 16), 'hex')::uuid
    from workspace.workspaces w
    left join (
        select c.workspace_id, array_agg(row(c.cause, c.closed_from, c.closed_until)::text order by c.closed_from, c.cause) as closures
        from workspace.closures c where c.workspace_id = any (workspace_ids) group by 1
    ) as c on c.workspace_id = w.workspace_id
    left join (
        select b.workspace_id, array_agg(row(b.currency, b.effective_from, b.effective_until)::text order by b.effective_from) as bindings
        from workspace.bindings b where b.workspace_id = any (workspace_ids) group by 1
    ) as b on b.workspace_id = w.workspace_id
    where w.workspace_id = any (workspace_ids)
$$;
comment on function workspace.intake_states is 'A fingerprint of what decides whether usage of workspaces is taken; a workspace that is not there has none';
revoke all on function workspace.intake_states from public;
grant execute on function workspace.intake_states to tallystick_workspace_app;

-- What decides, and its fingerprint, as one statement sees them. Asked for one after the other, a fingerprint could stay with what came a moment later, and match again
-- when that was taken back.
create function workspace.list_intakes(workspace_ids uuid[]) returns table (state uuid, workspace_id uuid, site text, created_at timestamptz,
    commercial_from timestamptz, cause text, currency text, period_from timestamptz, period_until timestamptz)
language sql stable as $$
    select s.state, w.workspace_id, w.site, w.created_at, w.commercial_from, p.cause, p.currency, p.period_from, p.period_until
    from workspace.intake_states(workspace_ids) s join workspace.workspaces w on w.workspace_id = s.workspace_id left join (
        select c.workspace_id, c.cause, null as currency, c.closed_from as period_from, c.closed_until as period_until
        from workspace.closures c where c.workspace_id = any (workspace_ids)
        union all
        select b.workspace_id, null, b.currency::text, b.effective_from, b.effective_until
        from workspace.bindings b where b.workspace_id = any (workspace_ids)
    ) as p on p.workspace_id = w.workspace_id
$$;
comment on function workspace.list_intakes is 'From when to when usage of workspaces is taken, and in which currency it is paid, with the fingerprint of all that';
revoke all on function workspace.list_intakes from public;
grant execute on function workspace.list_intakes to tallystick_workspace_app;

-- Each statement of the function sees what was committed before it: whoever held a fence alone has closed its day by then. Everything is named in full, and
-- no search path is set, as in `workspace.hold_intakes`. The records come in the order of their keys, so that two batches never wait for each other; one that is
-- there breaks the key of its partition, and nothing is written.
create function workspace.take_records(days date[], known_workspaces uuid[], known_states uuid[],
    event_ids uuid[], workspace_ids uuid[], usage_dates date[], event_times timestamptz[], quantities bigint[], fingerprints bigint[], meter_ids smallint[],
    dimensions text[],
    hour_workspaces uuid[], hour_dates date[], hour_measures smallint[], hour_dimensions text[], hours smallint[], hour_sums numeric[], hour_maxima bigint[],
    hour_counts bigint[])
returns text
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(3489, d.day - date '2000-01-01' + 2451545) from unnest(days) as d (day);
    if exists (select from workspace.day_fences f where f.usage_date = any (days)) then
        return 'DAY_CLOSED';
    end if;
    if exists (
        select from unnest(known_workspaces, known_states) as k (workspace_id, state)
        left join workspace.intake_states(known_workspaces) as n on n.workspace_id = k.workspace_id
        where n.state is distinct from k.state
    ) then
        return 'WORKSPACE_CHANGED';
    end if;
    insert into workspace.usage_records (event_id, workspace_id, usage_date, event_time, quantity, fingerprint, meter_id, is_late, dimension)
        select r.event_id, r.workspace_id, r.usage_date, r.event_time, r.quantity, r.fingerprint, r.meter_id, false, r.dimension
        from unnest(event_ids, workspace_ids, usage_dates, event_times, quantities, fingerprints, meter_ids, dimensions)
            as r (event_id, workspace_id, usage_date, event_time, quantity, fingerprint, meter_id, dimension);
    insert into workspace.usage_deltas (workspace_id, usage_date, meter_id, dimension, hour, is_late, sum, max, record_count)
        select h.workspace_id, h.usage_date, h.meter_id, h.dimension, h.hour, false, h.sum, h.max, h.record_count
        from unnest(hour_workspaces, hour_dates, hour_measures, hour_dimensions, hours, hour_sums, hour_maxima, hour_counts)
            as h (workspace_id, usage_date, meter_id, dimension, hour, sum, max, record_count);
    return 'TAKEN';
end
$$;
comment on function workspace.take_records is 'Writes records of open days and what they add to their hours, if nothing has changed that decides whether they are taken';
revoke all on function workspace.take_records from public;
grant execute on function workspace.take_records to tallystick_workspace_app;
