-- What sessions leave behind is removed when it can prove nothing any more: wrong tries of a day ago, sessions whose last token has ended.
-- Locks: each index build keeps writers of its table waiting; the tables are new. Size: as in 0003.

create index refresh_tokens_session_id_idx on account.refresh_tokens (session_id, expires_at);
create index sign_in_tries_since_idx on account.sign_in_tries (since);

grant delete on account.sessions to tallystick_account_app;
grant delete on account.refresh_tokens to tallystick_account_app;
grant delete on account.sign_in_tries to tallystick_account_app;
