//! Two different checks: the process answers (""), and each service of it is ready, which takes the database, a schema that is
//! new enough, and not draining.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::db::Schema;

/// How often readiness is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What readiness depends on.
pub struct Readiness {
    /// The pool.
    pub pool: PgPool,
    /// The schema.
    pub schema: Schema,
    /// The newest migration that this build needs.
    pub version: Option<i64>,
    /// The gRPC services that are ready or not.
    pub services: Vec<String>,
}

impl Readiness {
    /// Whether the database answers and has the schema that this build needs; a newer one is tolerated.
    pub async fn check(&self) -> anyhow::Result<()> {
        let version = crate::db::schema_version(&self.pool, self.schema).await?;
        anyhow::ensure!(
            version >= self.version,
            "schema {} is at {version:?}, {:?} is needed",
            self.schema.0,
            self.version
        );
        Ok(())
    }

    /// Reports until the process ends; NOT_SERVING from the moment that draining begins.
    pub async fn report(
        self,
        reporter: HealthReporter,
        draining: CancellationToken,
        stopped: CancellationToken,
    ) {
        let mut ready = None;
        loop {
            let is_ready = !draining.is_cancelled() && self.check().await.is_ok();
            if ready != Some(is_ready) {
                let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                for service in &self.services {
                    reporter.set_service_status(service, status).await;
                }
                ready = Some(is_ready);
            }
            tokio::select! {
                () = stopped.cancelled() => return,
                () = draining.cancelled(), if !draining.is_cancelled() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}
