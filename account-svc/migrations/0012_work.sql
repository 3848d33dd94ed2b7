-- Mails and registrations that operators look after.
-- Locks: adding columns with constant defaults and checks locks each table for a moment. Size: as before.

alter table account.mails add column parked_at timestamptz;
update account.mails set parked_at = created_at where state = 'PARKED';
alter table account.mails add constraint mails_parked_check check ((state = 'PARKED') = (parked_at is not null));
create index mails_work_idx on account.mails (mail_id) where state in ('WAITING', 'PARKED');

alter table account.registrations add column attempts integer not null default 0;
alter table account.registrations add column last_error text;
alter table account.registrations add column next_attempt_at timestamptz not null default '-infinity';
alter table account.registrations add column parked_at timestamptz;
alter table account.registrations add constraint registrations_attempts_check check (attempts >= 0);
comment on column account.registrations.parked_at is 'A step was refused for good: nobody goes on by himself but its customer, or an operator';
