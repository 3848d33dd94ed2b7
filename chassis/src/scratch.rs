//! Databases on demand: one migrated template per set of migrations, copied for each test, demonstration or usage file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, Durability, Server};
use crate::server::Service;

/// One process makes templates at a time.
const TEMPLATE_LOCK: i64 = 0x7a11_7571;

/// Brings all schemas of a database to this build's version, as their owners.
pub async fn migrate(
    server: &Server,
    services: &[Service],
    database: &str,
    test_clock: Option<i64>,
) -> anyhow::Result<()> {
    let mut admin = server.connect(database).await?;
    server.provision(&mut admin).await?;
    admin.close().await?;
    for service in services {
        let url = server.role_url(service.schema.0, "owner", database);
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await?;
        service.migrator.run(&pool).await.with_context(|| format!("migrating {}", service.schema.0))?;
        if let Some(offset) = test_clock {
            crate::db::mark_test(&pool, service.schema, offset).await?;
        }
        pool.close().await;
    }
    Ok(())
}

/// Whether a database of this name is there.
pub async fn exists(admin: &mut PgConnection, database: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
        .bind(database)
        .fetch_one(admin)
        .await
}

/// Makes an empty database unless it is there. True when it was made.
pub async fn create(server: &Server, database: &str) -> anyhow::Result<bool> {
    let mut admin = server.connect("postgres").await?;
    let made = !exists(&mut admin, database).await?;
    if made {
        execute(&mut admin, format!("create database {database}")).await?;
    }
    admin.close().await?;
    Ok(made)
}

/// Drops a database, ending what is connected to it.
pub async fn drop_database(server: &Server, database: &str) -> anyhow::Result<()> {
    let mut admin = server.connect("postgres").await?;
    execute(&mut admin, format!("drop database if exists {database} with (force)")).await?;
    admin.close().await?;
    Ok(())
}

async fn execute(admin: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await.map(drop)
}

/// The cluster that all tests of a run share.
pub async fn test_server() -> anyhow::Result<&'static Server> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = CLUSTER
        .get_or_try_init(|| async {
            let target = std::env::current_exe()?;
            let target = target.ancestors().nth(3).map_or_else(std::env::temp_dir, PathBuf::from);
            Cluster::open(&target.join("test-postgres"), Durability::ForTests, &mut |_| {}).await
        })
        .await?;
    Ok(&cluster.server)
}

/// A fresh, migrated test database of one's own, with a clock that can be moved.
pub struct Scratch {
    /// Where it is.
    pub server: &'static Server,
    /// Its name.
    pub database: String,
}

impl Scratch {
    /// A copy of the template of these services' migrations, which is made when it is not there.
    pub async fn new(services: &[Service]) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = test_server().await?;
        let template = template_name(services);
        let database = format!("scratch_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = server.connect("postgres").await?;
        sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await?;
        if !exists(&mut admin, &template).await? {
            let unfinished = format!("{template}_unfinished");
            execute(&mut admin, format!("drop database if exists {unfinished} with (force)")).await?;
            execute(&mut admin, format!("create database {unfinished}")).await?;
            migrate(server, services, &unfinished, Some(0)).await?;
            execute(&mut admin, format!("alter database {unfinished} rename to {template}")).await?;
        }
        execute(&mut admin, format!("drop database if exists {database} with (force)")).await?;
        execute(&mut admin, format!("create database {database} template {template}")).await?;
        sqlx::query("select pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await?;
        admin.close().await?;
        Ok(Self { server, database })
    }

    /// How a service's app role reaches it.
    pub fn app_url(&self, schema: &str) -> String {
        self.server.role_url(schema, "app", &self.database)
    }

    /// A connection of the administrator, who may look at everything.
    pub async fn admin(&self) -> anyhow::Result<PgConnection> {
        Ok(self.server.connect(&self.database).await?)
    }
}

fn template_name(services: &[Service]) -> String {
    let mut hash = Sha256::new();
    for service in services {
        hash.update(service.schema.0.as_bytes());
        for migration in service.migrator.iter() {
            hash.update(migration.version.to_be_bytes());
            hash.update(&*migration.checksum);
        }
    }
    let digest = crate::wire::hex(&hash.finalize());
    format!("template_{}", digest.get(..16).unwrap_or(&digest))
}
