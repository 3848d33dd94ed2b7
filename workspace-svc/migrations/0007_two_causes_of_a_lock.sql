-- A lock remembers its second cause, and whose arrears are one.
-- Locks: adding nullable columns and checks locks workspaces for a moment. Size: one row per workspace, as before.

alter table workspace.workspaces add column lock_other_since timestamptz;
alter table workspace.workspaces add column lock_arrears_of uuid;
update workspace.workspaces w set lock_arrears_of = (select b.billing_account_id from workspace.bindings b
    where b.workspace_id = w.workspace_id order by b.effective_from desc limit 1) where lock_cause = 'ARREARS';
alter table workspace.workspaces add constraint workspaces_lock_other_check check (lock_other_since is null or lock_cause is not null);
alter table workspace.workspaces add constraint workspaces_lock_arrears_check check (lock_arrears_of is null
    or coalesce(lock_cause = 'ARREARS', false) or lock_other_since is not null);
create index workspaces_arrears_idx on workspace.workspaces (lock_arrears_of) where lock_arrears_of is not null;
comment on column workspace.workspaces.lock_other_since is 'Since when the cause that is not lock_cause holds as well';
comment on column workspace.workspaces.lock_arrears_of is 'The billing account whose arrears are a cause: paying them lifts it (WS-7)';

grant update (lock_other_since, lock_arrears_of) on workspace.workspaces to tallystick_workspace_app;
