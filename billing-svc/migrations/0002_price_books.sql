-- Prices by currency, site class, item, retention and billing day.
-- Locks: none, the tables are new. Size: hundreds of rows.

create table billing.price_books (
    currency char(3) not null,
    site_class text not null,
    version integer not null,
    published_at timestamptz not null,
    constraint price_books_pkey primary key (currency, site_class),
    constraint price_books_currency_check check (currency in ('CNY', 'USD')),
    constraint price_books_site_class_check check (site_class in ('CHINA', 'OVERSEAS')),
    constraint price_books_version_check check (version > 0)
);
comment on table billing.price_books is 'The four price books, each with the number of its newest publication (REG-2); reference';

create table billing.price_entries (
    currency char(3) not null,
    site_class text not null,
    item text not null,
    retention_days integer not null,
    unit_size numeric not null,
    unit_of text not null,
    unit_price numeric not null,
    effective_from date not null,
    effective_until date,
    version integer not null,
    constraint price_entries_pkey primary key (currency, site_class, item, retention_days, effective_from),
    constraint price_entries_book_fkey foreign key (currency, site_class) references billing.price_books,
    constraint price_entries_item_check check (item ~ '^[a-z0-9_]{1,64}$'),
    constraint price_entries_retention_check check (retention_days between 0 and 3600),
    constraint price_entries_unit_size_check check (unit_size in
        (1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000)),
    constraint price_entries_unit_price_check check (unit_price >= 0 and unit_price < 100000 and scale(unit_price) <= 6),
    constraint price_entries_period_check check (effective_until > effective_from),
    constraint price_entries_overlap_excl exclude using gist
        (currency with =, site_class with =, item with =, retention_days with =, daterange(effective_from, effective_until) with &&)
);
comment on table billing.price_entries is 'What a unit of an item costs at a retention, over which days (DEC-18); retention 0 is an item with one price; reference';

grant select, insert, update on billing.price_books to tallystick_billing_app;
grant select, insert, update (effective_until) on billing.price_entries to tallystick_billing_app;
