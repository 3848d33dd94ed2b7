-- What the price books sell, told by billing-svc, so that usage of what is known to be unsold is refused when it comes (DEC-19).
-- Locks: none, the tables are new. Size: hundreds of rows.
create table workspace.sellable_books (
    currency char(3) not null,
    site_class text not null,
    version integer not null,
    last_date date not null,
    told_at timestamptz not null,
    constraint sellable_books_pkey primary key (currency, site_class),
    constraint sellable_books_currency_check check (currency in ('CNY', 'USD')),
    constraint sellable_books_site_class_check check (site_class in ('CHINA', 'OVERSEAS')),
    constraint sellable_books_version_check check (version > 0)
);
comment on table workspace.sellable_books is 'The price books that are known here, each with the number of its newest publication; reference';
comment on column workspace.sellable_books.last_date is 'The last billing day for which it is certain: a later publication may add to days after it';

create table workspace.sellable_items (
    currency char(3) not null,
    site_class text not null,
    item text not null,
    retention_days integer not null,
    effective_from date not null,
    effective_until date,
    constraint sellable_items_pkey primary key (currency, site_class, item, retention_days, effective_from),
    constraint sellable_items_book_fkey foreign key (currency, site_class) references workspace.sellable_books,
    constraint sellable_items_item_check check (item ~ '^[a-z0-9_]{1,64}$'),
    constraint sellable_items_retention_check check (retention_days between 0 and 3600),
    constraint sellable_items_period_check check (effective_until > effective_from)
);
comment on table workspace.sellable_items is 'What a book that is known here sells at a retention, over which days; reference';

grant select, insert, update (version, last_date, told_at) on workspace.sellable_books to tallystick_workspace_app;
grant select, insert, delete on workspace.sellable_items to tallystick_workspace_app;
