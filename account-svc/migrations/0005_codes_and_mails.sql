-- Mailed codes, what limits them, and mails on their way.
-- Locks: none, the tables are new. Size: a challenge and a mail per code, pruned after two days; a limit per identity and purpose of the last days.

create table account.challenges (
    challenge_hash bytea not null,
    challenge_id uuid not null,
    purpose text not null,
    identity_hash bytea not null,
    object text not null,
    requester text not null,
    account_id text,
    expires_at timestamptz not null,
    used_at timestamptz,
    used_by uuid,
    created_at timestamptz not null,
    constraint challenges_pkey primary key (challenge_hash),
    constraint challenges_hash_check check (octet_length(challenge_hash) = 32 and octet_length(identity_hash) = 32),
    constraint challenges_purpose_check check (purpose in
        ('SIGN_IN', 'SET_PASSWORD', 'REGISTER', 'BIND_WORKSPACE', 'CHANGE_EMAIL_OLD', 'CHANGE_EMAIL_NEW', 'CHANGE_PHONE')),
    constraint challenges_account_check check (account_id ~ '^(acnt|bacc)_[0-9a-f-]{36}$'),
    constraint challenges_life_check check (expires_at > created_at),
    constraint challenges_use_check check ((used_at is null) = (used_by is null))
);
create index challenges_created_at_idx on account.challenges (created_at);
create index challenges_identity_idx on account.challenges (identity_hash, created_at);
comment on table account.challenges is 'Codes that were asked for, each usable once: the code follows from the id and a secret, and is kept nowhere; local';
comment on column account.challenges.identity_hash is 'Of the identity that it is for, whether it has an account or not';
comment on column account.challenges.used_by is 'The request that used it, so that its repeat is answered alike';

create table account.code_limits (
    scope_hash bytea not null,
    sent_since timestamptz not null,
    sent_count integer not null,
    sent_at timestamptz not null,
    wrong_since timestamptz not null,
    wrong_count integer not null,
    constraint code_limits_pkey primary key (scope_hash),
    constraint code_limits_hash_check check (octet_length(scope_hash) = 32),
    constraint code_limits_sent_check check (sent_count between 0 and 300),
    constraint code_limits_wrong_check check (wrong_count between 0 and 20)
);
create index code_limits_wrong_since_idx on account.code_limits (wrong_since);
comment on table account.code_limits is 'How many codes were sent and how many wrong ones tried within a day, by identity and purpose, or by source; local';

create table account.mails (
    mail_id uuid not null,
    account_id text,
    address text,
    template text not null,
    language text not null,
    parameters jsonb not null,
    challenge_id uuid,
    state text not null,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default '-infinity',
    last_error text,
    created_at timestamptz not null,
    constraint mails_pkey primary key (mail_id),
    constraint mails_account_check check (account_id ~ '^(acnt|bacc)_[0-9a-f-]{36}$'),
    constraint mails_address_check check (address is null or state in ('WAITING', 'PARKED')),
    constraint mails_language_check check (language in ('ZH', 'EN')),
    constraint mails_state_check check (state in ('WAITING', 'SENT', 'DROPPED', 'PARKED')),
    constraint mails_attempts_check check (attempts >= 0)
);
create index mails_waiting_idx on account.mails (next_attempt_at) where state = 'WAITING';
create index mails_created_at_idx on account.mails (created_at);
comment on table account.mails is 'Mails on their way; one to nobody is DROPPED at once, so that an unknown identity costs as much as a known one; local';
comment on column account.mails.address is 'Only where it is not the account''s own; blanked when the mail has left';
comment on column account.mails.challenge_id is 'What the code in it follows from; the code itself is kept nowhere';

grant select, insert, update (used_at, used_by), delete on account.challenges to tallystick_account_app;
grant select, insert, update, delete on account.code_limits to tallystick_account_app;
grant select, insert, update, delete on account.mails to tallystick_account_app;
