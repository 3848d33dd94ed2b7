-- Which price books workspace-svc has been told of, for which day (DEC-19).
-- Locks: for a moment, a table of four rows. Size: as it was.
alter table billing.price_books add column told_date date;
comment on column billing.price_books.told_date is 'The last billing day for which workspace-svc was told what the book sells; null while it was not';
