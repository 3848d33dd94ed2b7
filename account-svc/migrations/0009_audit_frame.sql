-- Who did what: events of the audit trail on their way to account-svc. Byte for byte the same in all four services, but for the schema's name.
-- Locks: none, the table is new. Size: what happened within the last second, or since account-svc stopped answering.

create table account.audit_outbox (
    event_id uuid not null,
    kind text not null,
    caller text not null,
    method text not null,
    object_ids text[] not null,
    request_id uuid,
    call_id uuid,
    occurred_at timestamptz not null,
    constraint audit_outbox_pkey primary key (event_id),
    constraint audit_outbox_kind_check check (kind in ('CALL', 'CHANGE')),
    constraint audit_outbox_caller_check check (length(caller) between 1 and 200),
    constraint audit_outbox_method_check check (length(method) between 1 and 100),
    constraint audit_outbox_objects_check check (cardinality(object_ids) <= 32)
);
comment on table account.audit_outbox is 'Audit events that have not arrived at account-svc yet; a row is written with its change, and deleted after the ack; local';
comment on column account.audit_outbox.request_id is 'Of the request that asked for a change; null where it has none';
comment on column account.audit_outbox.call_id is 'Of the call, x-request-id; null for what a service does by itself';

grant select, insert, delete on account.audit_outbox to tallystick_account_app;
