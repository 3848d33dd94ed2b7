//! Hashing takes a processor for tens of milliseconds: so many at once, so many in line, and no more.

use chassis::failure::Failure;
use tokio::sync::SemaphorePermit;

use super::App;
use crate::domain::password::{self, HashFailed, Password};

/// Hashes at once.
pub const HASHING_MAX: usize = 2;
/// Calls that wait for their turn.
pub const WAITING_MAX: usize = 128;

/// Too many calls wait already.
#[derive(Debug)]
pub struct Busy(pub usize);

async fn in_turn<T, R, W>(app: &App, work: W) -> Result<T, Failure<R>>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, HashFailed> + Send + 'static,
{
    let _turn: SemaphorePermit<'_> = app.hashing.acquire().await.map_err(Failure::fatal)?;
    tokio::task::spawn_blocking(work).await.map_err(Failure::fatal)?.map_err(Failure::fatal)
}

/// Whether the password is the one behind the hash; as slow when there is none.
pub async fn verify(app: &App, given: String, stored: Option<String>) -> Result<bool, Failure<Busy>> {
    let _place = app.waiting.try_acquire().map_err(|_| Failure::Rejected(Busy(WAITING_MAX)))?;
    in_turn(app, move || password::verify(&given, stored.as_deref())).await
}

/// Hashes a new password with a salt of its own. Whoever has reserved a name waits for his turn.
pub async fn hash<R>(app: &App, password: Password) -> Result<String, Failure<R>> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(Failure::fatal)?;
    in_turn(app, move || password.hash(&salt)).await
}
