-- A run lists the workspaces that workspace-svc could not seal.
-- Locks: replacing a check locks bill_run_failures while its few rows are looked at. Size: as it was.
alter table billing.bill_run_failures drop constraint bill_run_failures_reason_check;
alter table billing.bill_run_failures add constraint bill_run_failures_reason_check
    check (reason in ('NO_PRICE', 'NO_BOOK', 'OUT_OF_BOUNDS', 'NOT_SEALED', 'FAULT'));
