//! Journeys: ask, load, decide, persist, publish, commit.

pub mod change_contact;
pub mod check_code;
pub mod close_account;
pub mod create_billing_account;
pub mod hash_passwords;
pub mod interrupted_registrations;
mod judge_standing;
pub mod keep_audit_trail;
pub mod keep_session_keys;
pub mod prune_sessions;
pub mod read_accounts;
pub mod redeem_code;
pub mod register;
pub mod renew_session;
pub mod send_code;
pub mod send_mail;
pub mod show_work;
pub mod sign_in;
pub mod update_account;

use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chassis::clock::Clock;
use chassis::db::Schema;
use chassis::server::Frame;
use chassis::user::{KeySource, Keys};
use secrecy::SecretString;
use sqlx::PgPool;
use tokio::sync::{Mutex, Notify, Semaphore};

use crate::peers::bills::Bills;
use crate::peers::mailer::Mailer;
use crate::peers::settlements::Settlements;
use crate::peers::workspaces::Workspaces;

/// What journeys stand on.
#[derive(Clone)]
pub struct App {
    pool: PgPool,
    schema: Schema,
    clock: Clock,
    /// Sessions and tokens live in it, whatever a test clock says.
    real_time: Clock,
    nudge: Arc<Notify>,
    workspaces: Workspaces,
    bills: Bills,
    settlements: Settlements,
    /// One closing at a time.
    closing: Arc<Mutex<()>>,
    mailer: Arc<Mailer>,
    session_secret: Arc<SecretString>,
    hashing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(
        frame: &Frame,
        (workspaces, bills, settlements): (Workspaces, Bills, Settlements),
        mailer: Mailer,
        session_secret: SecretString,
    ) -> Self {
        Self {
            pool: frame.pool.clone(),
            schema: frame.service.schema,
            clock: frame.clock.clone(),
            real_time: Clock::system(),
            nudge: Arc::clone(&frame.nudge),
            workspaces,
            bills,
            settlements,
            closing: Arc::new(Mutex::new(())),
            mailer: Arc::new(mailer),
            session_secret: Arc::new(session_secret),
            hashing: Arc::new(Semaphore::new(hash_passwords::HASHING_MAX)),
            waiting: Arc::new(Semaphore::new(hash_passwords::WAITING_MAX)),
        }
    }
}

/// This service needs nobody to tell it its keys.
impl KeySource for App {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Keys> + Send + '_>> {
        Box::pin(async {
            let keys = keep_session_keys::session_keys(self).await?;
            Ok(keys.into_iter().map(|key| (key.key_id, URL_SAFE_NO_PAD.encode(key.public_key))).collect())
        })
    }
}
