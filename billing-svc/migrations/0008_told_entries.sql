-- A publication begins after the last day that workspace-svc was told of: until then it refuses what was not sold (DEC-19).
-- Locks: for a moment, a table of hundreds of rows. Size: as it was.
alter table billing.price_entries add column told_date date;
alter table billing.price_entries add constraint price_entries_told_check check (effective_from > told_date);
comment on column billing.price_entries.told_date is 'The last billing day that workspace-svc had been told of when this was published; null while it was told of none';
