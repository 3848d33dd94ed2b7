//! Hashing takes a processor for tens of milliseconds: so many at once, so many in line, and no more.

use std::sync::Arc;

use chassis::failure::Failure;
use tokio::sync::OwnedSemaphorePermit;

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
    let turn = Arc::clone(&app.hashing).acquire_owned().await.map_err(Failure::fatal)?;
    // The turn ends with the work, not with the call: a call that is given up leaves its hash running.
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(Failure::fatal)?.map_err(Failure::fatal)
}

/// A place in line, before anything is done for a call.
pub fn take_place(app: &App) -> Result<OwnedSemaphorePermit, Busy> {
    Arc::clone(&app.waiting).try_acquire_owned().map_err(|_| Busy(WAITING_MAX))
}

/// Whether the password is the one behind the hash; as slow when there is none.
pub async fn verify<R>(app: &App, given: String, stored: Option<String>) -> Result<bool, Failure<R>> {
    in_turn(app, move || password::verify(&given, stored.as_deref())).await
}

/// Hashes a new password with a salt of its own. Whoever has reserved a name waits for his turn.
pub async fn hash<R>(app: &App, password: Password) -> Result<String, Failure<R>> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(Failure::fatal)?;
    in_turn(app, move || password.hash(&salt)).await
}
