-- Books that are closed for good, and what was left in them.
-- Locks: adding columns with constant defaults and replacing checks locks each table for a moment. Size: one transfer per source that was left.

alter table settlement.books add column closed_at timestamptz;
comment on column settlement.books.closed_at is 'From then on nothing moves in it (ACC-19)';
alter table settlement.ledger_accounts add column is_closed boolean not null default false;
alter table settlement.ledger_accounts add constraint ledger_accounts_closed_check
    check (not is_closed or kind not in ('CASH', 'VOUCHER', 'CARD', 'ARREARS') or credits = debits);
comment on column settlement.ledger_accounts.is_closed is 'Its book is closed: a customer has nothing in it and owes nothing';
alter table settlement.transfers drop constraint transfers_code_check;
alter table settlement.transfers add constraint transfers_code_check
    check (code in ('TOP_UP', 'VOUCHER_GRANT', 'BILL', 'BILL_OWED', 'ARREARS_REPAID', 'VOID'));

grant update (closed_at) on settlement.books to tallystick_settlement_app;
grant update (is_closed) on settlement.ledger_accounts to tallystick_settlement_app;
grant delete on settlement.cloud_account_claims to tallystick_settlement_app;
