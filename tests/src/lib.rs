//! What every whole-system test begins with: a world of its own, four services over TCP on a fresh database with a clock that can
//! be moved.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use chassis::civil::UsageDate;
use chassis::config::Mail;
use chassis::scratch::Scratch;
use local::clients::Clients;
use local::journey::{Customer, Journey};
use local::prices;
use local::stack::{SERVICES, Stack, StackConfig};
use sqlx::{AssertSqlSafe, Connection as _};
use tallystick_proto::account::v1::Registration;
use tallystick_proto::common::v1::{Money, Site};
use tallystick_proto::workspace::v1::{UsagePoint, UsageRecord};
use uuid::Uuid;

/// Longer than this nobody waits for what happens by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What customers of tests sign in with.
pub const PASSWORD: &str = "correct horse battery";

/// A world of one's own.
pub struct World {
    /// Its database.
    pub scratch: Scratch,
    /// Its services.
    pub stack: Stack,
    /// Clients of an operator.
    pub clients: Clients,
    /// Where its mails can be read.
    pub mails: PathBuf,
    mail: Mail,
    workers_paused: &'static [&'static str],
}

/// A registered customer, at the beginning of its first day.
pub struct Settled {
    /// Its requests.
    pub journey: Journey,
    /// Its ids.
    pub registration: Registration,
    /// Its first full day, which has begun.
    pub day: UsageDate,
}

/// A story that begins in the last hours of a day begins at noon of the next.
const LAST_HOURS_FROM: u8 = 22;

impl World {
    /// Four services, and the prices of the project.
    pub async fn new() -> anyhow::Result<Self> {
        let world = Self::without_prices().await?;
        prices::load(&world.clients).await?;
        Ok(world)
    }

    /// Four services that know no price.
    pub async fn without_prices() -> anyhow::Result<Self> {
        Self::with_mail(None).await
    }

    /// Four services whose mails leave this way; into a folder of the world's own unless one is named.
    pub async fn with_mail(mail: Option<Mail>) -> anyhow::Result<Self> {
        let scratch = Scratch::new(&SERVICES).await?;
        let mails = std::env::temp_dir().join(format!("{}-mails", scratch.database));
        let mail = mail.unwrap_or_else(|| Mail::Folder(mails.clone()));
        Self::start(scratch, mails, mail, BY_HAND).await
    }

    /// Four services that seal every day an hour after its end, and tell every day what is sold, by themselves; in other worlds a story says when.
    pub async fn sealing() -> anyhow::Result<Self> {
        let scratch = Scratch::new(&SERVICES).await?;
        let mails = std::env::temp_dir().join(format!("{}-mails", scratch.database));
        Self::start(scratch, mails.clone(), Mail::Folder(mails), &[]).await
    }

    async fn start(
        scratch: Scratch,
        mails: PathBuf,
        mail: Mail,
        workers_paused: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        let (stack, clients) = start(&scratch, mail.clone(), workers_paused).await?;
        // Whoever registers in the last hour of a day begins to pay on the next: stories are told of customers who pay from the day on which they register.
        let now = clients.now().await?;
        if UsageDate::hour_of(now) >= LAST_HOURS_FROM {
            clients.advance_to(UsageDate::of(now).end() + time::Duration::hours(12)).await?;
        }
        Ok(Self { scratch, stack, clients, mails, mail, workers_paused })
    }

    /// The text of the newest mail to an address whose text contains this, once it has left; it is taken away, so that the next is another.
    pub async fn take_mail(&self, address: &str, containing: &str) -> anyhow::Result<String> {
        self.take_mail_of(address, &[containing]).await
    }

    /// The same of several texts: the first that a mail contains.
    async fn take_mail_of(&self, address: &str, texts: &[&str]) -> anyhow::Result<String> {
        let wait = async {
            loop {
                for text in texts {
                    if let Some((path, text)) = self.find_mail(address, text)? {
                        std::fs::remove_file(path)?;
                        return anyhow::Ok(text);
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("no mail to {address}"))?
    }

    /// The newest mail to an address whose text contains this, if one has left.
    pub fn find_mail(&self, address: &str, containing: &str) -> anyhow::Result<Option<(PathBuf, String)>> {
        let mut newest = None;
        for entry in std::fs::read_dir(&self.mails)? {
            let path = entry?.path();
            let is_mail = path.extension().is_some_and(|extension| extension == "txt");
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let wanted = text.starts_with(&format!("To: {address}\n")) && text.contains(containing);
            if is_mail && wanted && newest.as_ref().is_none_or(|(other, _)| *other < path) {
                newest = Some((path, text));
            }
        }
        Ok(newest)
    }

    /// The six digits of the newest mail with a code to an address, whatever else it was mailed.
    pub async fn take_code(&self, address: &str) -> anyhow::Result<String> {
        let text = self.take_mail_of(address, &["10 分钟", "10 minutes"]).await?;
        let body = text.split_once("\n\n").map_or("", |(_, body)| body);
        // The last: an id that the code is for stands before it, and may have six digits in a row.
        let mut words = body.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() == 6);
        words.next_back().map(str::to_owned).with_context(|| format!("no code in {text}"))
    }

    /// Stops the services and starts them again on the same database.
    pub async fn restart(self) -> anyhow::Result<Self> {
        let workers_paused = self.workers_paused;
        self.restart_without(workers_paused).await
    }

    /// The same, and from then on what a story does by hand elsewhere happens by itself.
    pub async fn restart_with_all_workers(self) -> anyhow::Result<Self> {
        self.restart_without(&[]).await
    }

    async fn restart_without(self, workers_paused: &'static [&'static str]) -> anyhow::Result<Self> {
        self.stack.stop().await?;
        let (stack, clients) = start(&self.scratch, self.mail.clone(), workers_paused).await?;
        Ok(Self { stack, clients, workers_paused, ..self })
    }

    /// A customer's requests; the name makes its ids.
    pub fn journey(&self, name: &str) -> Journey {
        let customer = Customer {
            namespace: Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()),
            site: Site::Cn1Hangzhou.into(),
            currency_code: "CNY".to_owned(),
            email: format!("{name}@example.com"),
            username: format!("{name}-ltd"),
            workspace_name: name.to_owned(),
            password: String::new(),
        };
        Journey { clients: self.clients.clone(), customer }
    }

    /// A customer that has registered with a password, so that its accounts can sign in.
    pub async fn customer_with_password(&self, name: &str) -> anyhow::Result<Settled> {
        let mut journey = self.journey(name);
        journey.customer.password = PASSWORD.to_owned();
        let registration = journey.register().await?;
        let day = Journey::first_day(&registration)?;
        Ok(Settled { journey, registration, day })
    }

    /// A customer that has registered, on the morning of its first full day.
    pub async fn customer(&self, name: &str) -> anyhow::Result<Settled> {
        let journey = self.journey(name);
        let registration = journey.register().await?;
        let day = Journey::first_day(&registration)?;
        self.clients.advance_to(day.start() + time::Duration::MINUTE).await?;
        Ok(Settled { journey, registration, day })
    }

    /// A digest of every business row of every schema, by table: equal before and after what must change nothing.
    pub async fn dump(&self) -> anyhow::Result<Vec<(String, i64, String)>> {
        self.quiet().await?;
        let mut admin = self.scratch.admin().await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname in ('account', 'workspace', 'billing', 'settlement') and c.relkind in ('r', 'p') \
               and not c.relispartition and c.relname <> all ($1) order by 1",
        )
        .bind(NO_BUSINESS)
        .fetch_all(&mut admin)
        .await?;
        anyhow::ensure!(tables.len() > 30, "there is not much to dump: {tables:?}");
        let mut dump = Vec::new();
        for table in tables {
            let sql = format!(
                "select count(*), coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '') from {table} t"
            );
            let (count, digest): (i64, String) =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut admin).await?;
            dump.push((table, count, digest));
        }
        admin.close().await?;
        Ok(dump)
    }

    /// Waits until no event is on its way.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        let mut admin = self.scratch.admin().await?;
        let wait = async {
            loop {
                let waiting: i64 = sqlx::query_scalar(
                    "select (select count(*) from account.outbox) + (select count(*) from workspace.outbox) \
                     + (select count(*) from billing.outbox) + (select count(*) from settlement.outbox) \
                     + (select count(*) from workspace.usage_deltas)",
                )
                .fetch_one(&mut admin)
                .await?;
                if waiting == 0 {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("events do not arrive")??;
        admin.close().await?;
        Ok(())
    }

    /// Proves the books: every balance equals the sum of its transfers, every book sums to zero, every settlement adds up, and
    /// bills, settlements and what billing-svc was told agree to the cent.
    pub async fn reconcile(&self) -> anyhow::Result<()> {
        self.quiet().await?;
        let mut admin = self.scratch.admin().await?;
        for (name, sql) in INVARIANTS {
            let broken: Vec<String> = sqlx::query_scalar(*sql).fetch_all(&mut admin).await?;
            anyhow::ensure!(broken.is_empty(), "{name} is broken: {broken:?}");
        }
        admin.close().await?;
        Ok(())
    }
}

/// What a story does by hand.
const BY_HAND: &[&str] = &["seal_days", "tell_sellables"];

async fn start(
    scratch: &Scratch,
    mail: Mail,
    workers_paused: &'static [&'static str],
) -> anyhow::Result<(Stack, Clients)> {
    let drain_delay = Duration::from_millis(10);
    let config = StackConfig {
        server: scratch.server,
        database: &scratch.database,
        port_base: 0,
        drain_delay,
        mail,
        workers_paused,
    };
    let stack = Stack::start(config).await?;
    let clients = stack.clients()?;
    Ok((stack, clients))
}

/// Tables that a refused call may change: attempts, what is on its way to be read by people, and what processes hold.
const NO_BUSINESS: &[&str] = &[
    "work_claims",
    "_sqlx_migrations",
    "challenges",
    "code_limits",
    "mails",
    "sign_in_tries",
    "audit_outbox",
    "audit_trail",
];

/// An invariant, and the query that finds what breaks it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "balance = sum of transfers",
        "select ledger_account_id::text from settlement.ledger_accounts a where debits <> \
         coalesce((select sum(amount) from settlement.transfers t where t.billing_account_id = a.billing_account_id \
           and t.debit_account_id = a.ledger_account_id), 0) or credits <> \
         coalesce((select sum(amount) from settlement.transfers t where t.billing_account_id = a.billing_account_id \
           and t.credit_account_id = a.ledger_account_id), 0)",
    ),
    (
        "every book sums to zero",
        "select billing_account_id::text from settlement.ledger_accounts group by 1, billing_account_id \
         having sum(debits) <> sum(credits)",
    ),
    (
        "allocations + owed = total",
        "select bill_id::text from settlement.settlements s where total <> owed + coalesce((select sum(amount) \
         from settlement.allocations a where a.billing_account_id = s.billing_account_id and a.bill_id = s.bill_id), 0)",
    ),
    (
        "arrears = what is still owed",
        "select a.billing_account_id::text from settlement.ledger_accounts a where a.kind = 'ARREARS' and a.debits - a.credits <> \
         coalesce((select sum(owed_remaining) from settlement.settlements s where s.billing_account_id = a.billing_account_id), 0)",
    ),
    (
        "bill total = sum of its lines",
        "select bill_id::text from billing.bills b where total <> coalesce((select sum(amount) from billing.bill_lines l \
         where l.workspace_id = b.workspace_id and l.bill_id = b.bill_id), 0)",
    ),
    (
        "every bill is settled once, by its payer, for its total",
        "select b.bill_id::text from billing.bills b where total <> 0 and (select count(*) from settlement.settlements s \
         where s.bill_id = b.bill_id and s.billing_account_id = b.billing_account_id and s.total = b.total \
           and s.bill_digest = b.digest) <> 1",
    ),
    (
        "billing-svc knows how every bill was paid",
        "select b.bill_id::text from billing.bills b left join billing.bill_settlements p using (workspace_id, bill_id) \
         where p.bill_id is null or b.total <> voucher_amount + card_amount + cash_amount + cloud_amount + owed_amount",
    ),
    (
        "hours add up to the records",
        "select concat_ws(' ', workspace_id, usage_date, meter_id, dimension, hour) from (\
           select r.workspace_id, r.usage_date, m.measure_id as meter_id, r.dimension, \
             extract(hour from event_time at time zone interval '08:00')::smallint as hour, count(*) filter (where v.event_id is null) as count, \
             count(*) filter (where not r.is_late and (v.event_id is null or v.is_late)) as in_time, coalesce(sum(m.weight * case when m.step is null then quantity \
               when m.rounding = 'UP' then ceil(greatest(quantity - free_quantity, 0)::numeric / step) \
               else greatest(floor(greatest(quantity - free_quantity, 0)::numeric / step), minimum) end) \
               filter (where v.event_id is null), 0) as sum \
           from workspace.usage_records r join workspace.meters m using (meter_id) left join workspace.usage_voids v \
             on v.workspace_id = r.workspace_id and v.usage_date = r.usage_date and v.event_id = r.event_id group by 1, 2, 3, 4, 5) as r \
         full join (select * from workspace.hourly_usage where meter_id not in (select meter_id from workspace.meters \
           where counting <> 'QUANTITY')) as h using (workspace_id, usage_date, meter_id, dimension, hour) \
         where (r.count, r.in_time, r.sum) is distinct from (h.record_count, h.in_time_count, h.sum)",
    ),
    (
        "hours of keys add up to the keys",
        "select concat_ws(' ', workspace_id, usage_date, meter_id, dimension) from (\
           select workspace_id, usage_date, meter_id, dimension, sum(counted) as sum, sum(in_time_counted) as in_time_sum \
             from workspace.usage_keys k join workspace.meters m using (meter_id) where m.counting = 'DISTINCT_DAY' group by 1, 2, 3, 4) as k \
         full join (select * from workspace.hourly_usage where hour = 24) as h using (workspace_id, usage_date, meter_id, dimension) \
         where (k.sum, k.in_time_sum) is distinct from (h.sum, h.in_time_sum)",
    ),
    (
        "sealed days + failures = manifest",
        "select f.usage_date::text from workspace.day_fences f cross join lateral (select \
           (select count(*) from workspace.sealed_days s where s.usage_date = f.usage_date and s.origin = 'MEASURED') as sealed, \
           (select count(*) from workspace.seal_failures x where x.usage_date = f.usage_date) as failed) as c \
         where f.state = 'SEALED' and (f.workspace_count <> c.sealed + c.failed or f.failure_count <> c.failed)",
    ),
    (
        "months add up to their sealed days",
        "select concat_ws(' ', workspace_id, month, item, dimension, retention_days) from (\
           select workspace_id, date_trunc('month', usage_date)::date as month, item, dimension, retention_days, sum(quantity) as quantity \
           from workspace.sealed_lines group by 1, 2, 3, 4, 5) as l \
         full join workspace.sealed_months m using (workspace_id, month, item, dimension, retention_days) \
         where l.quantity is distinct from m.quantity",
    ),
    (
        "no day of a workspace is sealed and has failed",
        "select concat_ws(' ', workspace_id, usage_date) from workspace.seal_failures \
         join workspace.sealed_days using (workspace_id, usage_date)",
    ),
    (
        "bills + listed failures = manifest",
        "select r.run_id::text from billing.bill_runs r join workspace.day_fences f using (usage_date) where r.state = 'SUCCEEDED' and \
         (r.workspace_count <> f.workspace_count or r.failed_count <> (select count(*) from billing.bill_run_failures x \
           where x.run_id = r.run_id) or r.billed_count + r.failed_count <> r.workspace_count)",
    ),
    (
        "digests chain per workspace",
        "select b.bill_id::text from billing.bills b left join billing.bills p on p.workspace_id = b.workspace_id \
         and p.chain_number = b.chain_number - 1 where b.previous_digest <> coalesce(p.digest, '')",
    ),
];

/// An amount in CNY.
pub fn cny(amount: &str) -> Money {
    Money { currency_code: "CNY".to_owned(), amount: amount.to_owned() }
}

impl Settled {
    /// The workspace's id.
    pub fn workspace(&self) -> &str {
        &self.registration.workspace_id
    }

    /// The payer's id.
    pub fn payer(&self) -> &str {
        &self.registration.billing_account_id
    }

    /// A record of the first day, so many minutes after its 00:00.
    pub fn record(&self, place: &str, minute: i64, usage: (&str, &str, &str)) -> UsageRecord {
        let time = self.day.start() + time::Duration::minutes(minute);
        self.journey.record(self.workspace(), place, time, usage)
    }

    /// A point of the first day.
    pub fn point(
        &self,
        hour: i64,
        (meter, dimension, quantity): (&str, &str, &str),
        revision: i64,
    ) -> UsagePoint {
        UsagePoint {
            workspace_id: self.workspace().to_owned(),
            meter: meter.to_owned(),
            dimension: dimension.to_owned(),
            retention_days: 0,
            hour_time: Some(chassis::wire::timestamp(self.day.start() + time::Duration::hours(hour))),
            quantity: quantity.to_owned(),
            revision,
            count_from_time: None,
        }
    }
}
