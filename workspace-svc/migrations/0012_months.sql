-- What a workspace used in a month, added up when its days are sealed, so that a year is read from a dozen rows; and the two questions of ingest in one.
-- Locks: no day is sealed while what is there is added up. Size: one row per workspace, month, item, dimension and retention.
-- Roll-out: processes of the version before seal nothing any more, since their lines lack the month; the new ones go on with what they began.
lock table workspace.sealed_lines in share row exclusive mode;
create table workspace.sealed_months (
    workspace_id uuid not null,
    month date not null,
    item text not null,
    dimension text not null,
    retention_days integer not null,
    quantity numeric not null,
    constraint sealed_months_pkey primary key (workspace_id, month, item, dimension, retention_days),
    constraint sealed_months_month_check check (extract(day from month) = 1),
    constraint sealed_months_quantity_check check (quantity > 0)
);
comment on table workspace.sealed_months is 'What the sealed lines of a calendar month add up to, written with them; kept as long as they are; distributed by workspace_id';
comment on column workspace.sealed_months.month is 'Its first day';
alter table workspace.sealed_lines add column month date;
update workspace.sealed_lines set month = date_trunc('month', usage_date)::date;
alter table workspace.sealed_lines alter column month set not null;
alter table workspace.sealed_lines add constraint sealed_lines_month_check check (month = date_trunc('month', usage_date)::date);
comment on column workspace.sealed_lines.month is 'In whose sums it is: who writes a line without them is refused';
insert into workspace.sealed_months (workspace_id, month, item, dimension, retention_days, quantity)
    select workspace_id, month, item, dimension, retention_days, sum(quantity)
    from workspace.sealed_lines group by 1, 2, 3, 4, 5;
grant select, insert, update (quantity) on workspace.sealed_months to tallystick_workspace_app;

-- Each statement of the function sees what was committed before it: whoever held a fence alone has closed its day by then. Everything is named in full, and
-- no search path is set: that would cost as much as one of the questions.
create function workspace.hold_intakes(days date[], workspace_ids uuid[]) returns table (closed_date date, workspace_id uuid, site text,
    created_at timestamptz, commercial_from timestamptz, cause text, currency text, period_from timestamptz, period_until timestamptz)
language plpgsql as $$
#variable_conflict use_column
begin
    -- The class is the one that the seal takes alone; the number is the day's in the Julian calendar.
    perform pg_advisory_xact_lock_shared(3489, d.day - date '2000-01-01' + 2451545) from unnest(days) as d (day);
    return query
        select f.usage_date, null::uuid, null, null::timestamptz, null::timestamptz, null, null, null::timestamptz, null::timestamptz
        from workspace.day_fences f where f.usage_date = any (days)
        union all
        select null, w.workspace_id, w.site, w.created_at, w.commercial_from, p.cause, p.currency, p.period_from, p.period_until
        from workspace.workspaces w left join (
            select c.workspace_id, c.cause, null as currency, c.closed_from as period_from, c.closed_until as period_until
            from workspace.closures c where c.workspace_id = any (workspace_ids)
            union all
            select b.workspace_id, null, b.currency::text, b.effective_from, b.effective_until
            from workspace.bindings b where b.workspace_id = any (workspace_ids)
        ) as p using (workspace_id) where w.workspace_id = any (workspace_ids);
end
$$;
comment on function workspace.hold_intakes is 'Holds the fences of days, in the order given, until the transaction ends; answers which of them are closed, and from when to when usage of workspaces is taken, and in which currency it is paid';
revoke all on function workspace.hold_intakes from public;
grant execute on function workspace.hold_intakes to tallystick_workspace_app;
