-- The audit trail of all services.
-- Locks: none, the table is new. Size: a row per change and per call of an operator; kept 10 years.

create table account.audit_trail (
    event_id uuid not null,
    service text not null,
    kind text not null,
    caller text not null,
    method text not null,
    object_ids text[] not null,
    request_id uuid,
    call_id uuid,
    occurred_at timestamptz not null,
    constraint audit_trail_pkey primary key (event_id),
    constraint audit_trail_service_check check (service in ('account-svc', 'workspace-svc', 'billing-svc', 'settlement-svc')),
    constraint audit_trail_kind_check check (kind in ('CALL', 'CHANGE')),
    constraint audit_trail_caller_check check (length(caller) between 1 and 200),
    constraint audit_trail_method_check check (length(method) between 1 and 100),
    constraint audit_trail_objects_check check (cardinality(object_ids) <= 32)
);
create index audit_trail_object_ids_idx on account.audit_trail using gin (object_ids);
create index audit_trail_caller_idx on account.audit_trail (caller, event_id);
comment on table account.audit_trail is 'Who did what to which objects, when and by which request: never changed, never deleted; reference';

grant select, insert on account.audit_trail to tallystick_account_app;
