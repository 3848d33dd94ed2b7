-- Who works in a workspace, when it takes no usage, and accounts that nothing may be bound to any more.
-- Locks: adding columns locks workspaces for a moment; the tables are new. Size: few rows per workspace.

alter table workspace.workspaces add column language text not null default 'ZH';
alter table workspace.workspaces add column lock_cause text;
alter table workspace.workspaces add column locked_at timestamptz;
alter table workspace.workspaces add column lock_final_from timestamptz;
alter table workspace.workspaces add column lock_told_days integer;
alter table workspace.workspaces add column dissolved_at timestamptz;
alter table workspace.workspaces add constraint workspaces_language_check check (language in ('ZH', 'EN'));
alter table workspace.workspaces add constraint workspaces_lock_cause_check check (lock_cause in ('ARREARS', 'SUBSCRIPTION'));
alter table workspace.workspaces add constraint workspaces_lock_check check (
    (lock_cause is null) = (locked_at is null) and (locked_at is null) = (lock_final_from is null)
    and (locked_at is null) = (lock_told_days is null) and lock_final_from >= locked_at + interval '14 days');
create index workspaces_owner_idx on workspace.workspaces (owner_console_account_id, workspace_id);
create index workspaces_locked_idx on workspace.workspaces (locked_at) where locked_at is not null;
create index bindings_payer_idx on workspace.bindings (billing_account_id, workspace_id);
comment on column workspace.workspaces.lock_final_from is 'The full hour at or after 14 days of countdown: from then on a closure refuses usage (WS-4)';
comment on column workspace.workspaces.lock_told_days is 'The last day of the countdown that its owner was mailed about: 0, 11, 13 or 14 (DEC-39)';
comment on column workspace.workspaces.dissolved_at is 'When its owner dissolved it; for 7 days it can be restored (WS-9)';

create table workspace.members (
    workspace_id uuid not null,
    console_account_id uuid not null,
    role text not null,
    reads_bills boolean not null,
    review_pending boolean not null,
    created_at timestamptz not null,
    constraint members_pkey primary key (workspace_id, console_account_id),
    constraint members_workspace_id_fkey foreign key (workspace_id) references workspace.workspaces,
    constraint members_role_check check (role in ('ADMINISTRATOR', 'STANDARD', 'READ_ONLY', 'CUSTOM')),
    constraint members_reads_bills_check check (not reads_bills or role = 'CUSTOM'),
    constraint members_review_check check (not review_pending or role <> 'ADMINISTRATOR')
);
comment on table workspace.members is 'Console accounts that work in a workspace they do not own (RO-1); reference';
comment on column workspace.members.review_pending is 'A raise to administrator waits for the payer (PLAN-17)';

create table workspace.closures (
    workspace_id uuid not null,
    cause text not null,
    closed_from timestamptz not null,
    closed_until timestamptz,
    created_at timestamptz not null,
    constraint closures_pkey primary key (workspace_id, cause, closed_from),
    constraint closures_workspace_id_fkey foreign key (workspace_id) references workspace.workspaces,
    constraint closures_cause_check check (cause in ('UNBOUND', 'DISSOLVED', 'LOCKED')),
    constraint closures_period_check check (closed_until >= closed_from),
    constraint closures_overlap_excl exclude using gist (workspace_id with =, cause with =, tstzrange(closed_from, closed_until) with &&)
);
comment on table workspace.closures is 'When a workspace takes no usage: an event of such a time is refused, and a day that is wholly inside has no bill; reference';

create table workspace.retired_accounts (
    account_id text not null,
    retired_at timestamptz not null,
    constraint retired_accounts_pkey primary key (account_id),
    constraint retired_accounts_id_check check (account_id ~ '^(acnt|bacc)_[0-9a-f-]{36}$')
);
comment on table workspace.retired_accounts is 'Accounts that are closed, or being closed: nothing is bound to them or handed to them; reference';

grant update (name, language, owner_console_account_id, lock_cause, locked_at, lock_final_from, lock_told_days, dissolved_at)
    on workspace.workspaces to tallystick_workspace_app;
grant delete on workspace.bindings to tallystick_workspace_app;
grant select, insert, update (role, reads_bills, review_pending), delete on workspace.members to tallystick_workspace_app;
grant select, insert, update (closed_until), delete on workspace.closures to tallystick_workspace_app;
grant select, insert, delete on workspace.retired_accounts to tallystick_workspace_app;
