-- What every service's schema has: requests that took effect, events on their way out, work that one process does at a time,
-- and what kind of database this is. Byte for byte the same in all four services, but for the schema's name.
-- Locks: none, the tables are new.

create table settlement.requests (
    scope_id uuid not null,
    caller text not null,
    method text not null,
    request_id uuid not null,
    request_hash bytea not null,
    response bytea,
    created_at timestamptz not null,
    constraint requests_pkey primary key (scope_id, caller, method, request_id),
    constraint requests_hash_check check (octet_length(request_hash) = 32),
    constraint requests_caller_check check (length(caller) between 1 and 200)
);
comment on table settlement.requests is 'Answers of requests that took effect, kept as long as the rows they made; distributed by scope_id';
comment on column settlement.requests.scope_id is 'The addressed object; nil when the request makes one';
comment on column settlement.requests.response is 'The encoded first answer; null only inside the transaction that makes it';

create table settlement.outbox_heads (
    aggregate_id uuid not null,
    destination text not null,
    last_seq bigint not null,
    constraint outbox_heads_pkey primary key (aggregate_id, destination),
    constraint outbox_heads_seq_check check (last_seq > 0)
);
comment on table settlement.outbox_heads is 'The last number given to an event of an aggregate; its row lock makes the order of events the order of commits; distributed by aggregate_id';

create table settlement.outbox (
    aggregate_id uuid not null,
    destination text not null,
    aggregate_seq bigint not null,
    kind text not null,
    payload bytea not null,
    trace_context text not null,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default '-infinity',
    parked_at timestamptz,
    last_error text,
    created_at timestamptz not null,
    constraint outbox_pkey primary key (aggregate_id, destination, aggregate_seq),
    constraint outbox_seq_check check (aggregate_seq > 0),
    constraint outbox_attempts_check check (attempts >= 0)
);
create index outbox_waiting_idx on settlement.outbox (destination, created_at) where parked_at is null;
comment on table settlement.outbox is 'Events that have not arrived yet, one row per destination; the relay deletes a row after its ack; distributed by aggregate_id';
comment on column settlement.outbox.parked_at is 'Set when it was refused for good or too often; it holds back no later event';

create table settlement.work_claims (
    name text not null,
    holder uuid not null,
    held_until timestamptz not null,
    constraint work_claims_pkey primary key (name)
);
comment on table settlement.work_claims is 'Which process does a piece of work that only one may do, and until when; local';

create table settlement.deployment (
    singleton boolean not null default true,
    is_test boolean not null default false,
    clock_offset_micros bigint not null default 0,
    constraint deployment_pkey primary key (singleton),
    constraint deployment_singleton_check check (singleton),
    constraint deployment_clock_check check (is_test or clock_offset_micros = 0)
);
comment on table settlement.deployment is 'What kind of database this is: only one that was made for tests has a clock that moves; local';
insert into settlement.deployment default values;

grant select, insert, update on settlement.requests to tallystick_settlement_app;
grant select, insert, update on settlement.outbox_heads to tallystick_settlement_app;
grant select, insert, update, delete on settlement.outbox to tallystick_settlement_app;
grant select, insert, update, delete on settlement.work_claims to tallystick_settlement_app;
grant select, update (clock_offset_micros) on settlement.deployment to tallystick_settlement_app;
grant select on settlement._sqlx_migrations to tallystick_settlement_app;
