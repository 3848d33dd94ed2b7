-- Passwords, sessions and the keys of users' tokens.
-- Locks: adding a nullable column locks each account table for a moment. Size: a session per device, a token per refresh of it.

alter table account.console_accounts add column password_hash text
    constraint console_accounts_password_check check (password_hash like '$argon2id$%');
alter table account.billing_accounts add column password_hash text
    constraint billing_accounts_password_check check (password_hash like '$argon2id$%');
comment on column account.console_accounts.password_hash is 'argon2id with its parameters and salt; null while nobody can sign in by password';
comment on column account.billing_accounts.password_hash is 'argon2id with its parameters and salt; null while nobody can sign in by password';

create table account.session_keys (
    key_id text not null,
    public_key bytea not null,
    signs_from timestamptz not null,
    constraint session_keys_pkey primary key (key_id),
    constraint session_keys_id_check check (key_id ~ '^user-[0-9a-f-]{36}$'),
    constraint session_keys_public_check check (octet_length(public_key) = 32)
);
comment on table account.session_keys is 'Public keys of users'' tokens: each signs until the next one does; the private half is derived from a secret and the id, and kept nowhere; local';

create table account.sessions (
    session_id uuid not null,
    account_id text not null,
    created_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    constraint sessions_pkey primary key (session_id),
    constraint sessions_account_check check (account_id ~ '^(acnt|bacc)_[0-9a-f-]{36}$'),
    constraint sessions_end_check check ((ended_at is null) = (end_reason is null)),
    constraint sessions_reason_check check (end_reason in ('REVOKED', 'REFRESH_TOKEN_REUSED'))
);
comment on table account.sessions is 'Who is signed in: a family of refresh tokens, in real time; local';

create table account.refresh_tokens (
    token_hash bytea not null,
    session_id uuid not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint refresh_tokens_pkey primary key (token_hash),
    constraint refresh_tokens_session_id_fkey foreign key (session_id) references account.sessions,
    constraint refresh_tokens_hash_check check (octet_length(token_hash) = 32),
    constraint refresh_tokens_life_check check (expires_at > issued_at)
);
comment on table account.refresh_tokens is 'Tokens by their hash, each usable once: one that comes again ends its session; local';

create table account.sign_in_tries (
    identity_hash bytea not null,
    since timestamptz not null,
    wrong_count integer not null,
    constraint sign_in_tries_pkey primary key (identity_hash),
    constraint sign_in_tries_hash_check check (octet_length(identity_hash) = 32),
    constraint sign_in_tries_count_check check (wrong_count between 0 and 20)
);
comment on table account.sign_in_tries is 'Wrong passwords per identity within a day of the first, whether it has an account or not; local';

grant update (password_hash) on account.console_accounts to tallystick_account_app;
grant update (password_hash) on account.billing_accounts to tallystick_account_app;
grant select, insert on account.session_keys to tallystick_account_app;
grant select, insert, update (ended_at, end_reason) on account.sessions to tallystick_account_app;
grant select, insert, update (used_at) on account.refresh_tokens to tallystick_account_app;
grant select, insert, update on account.sign_in_tries to tallystick_account_app;
