//! Remembers what decides whether usage of workspaces is taken, with a fingerprint of it. Nothing is ever taken by what is remembered alone: the database
//! compares the fingerprints in the statement that writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::store;
use crate::store::workspaces::{Intakes, State};

/// Workspaces that are remembered at most; then it begins anew.
const KEPT_MAX: usize = 100_000;

/// What is remembered.
#[derive(Default)]
pub struct KnownIntakes(Mutex<HashMap<Uuid, State, foldhash::fast::RandomState>>);

impl KnownIntakes {
    fn states(&self) -> MutexGuard<'_, HashMap<Uuid, State, foldhash::fast::RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of workspaces, and their fingerprints in the same order; it is asked for where it is not known. None: one is not there.
    pub async fn of(
        &self,
        connection: &mut PgConnection,
        ids: &[Uuid],
    ) -> sqlx::Result<Option<(Intakes, Vec<Uuid>)>> {
        let missing: Vec<Uuid> = {
            let states = self.states();
            ids.iter().filter(|id| !states.contains_key(*id)).copied().collect()
        };
        if !missing.is_empty() {
            let asked = store::workspaces::list_states(connection, &missing).await?;
            let mut states = self.states();
            if states.len() + asked.len() > KEPT_MAX {
                states.clear();
            }
            states.extend(asked);
        }
        let states = self.states();
        let known: Option<Vec<(&Uuid, &State)>> = ids.iter().map(|id| Some((id, states.get(id)?))).collect();
        Ok(known.map(|known| {
            let intakes = known
                .iter()
                .map(|(id, state)| (chassis::id::WorkspaceId::from_uuid(**id), Arc::clone(&state.intake)));
            (intakes.collect(), known.iter().map(|(_, state)| state.fingerprint).collect())
        }))
    }

    /// Forgets workspaces of which one has changed.
    pub fn forget(&self, ids: &[Uuid]) {
        let mut states = self.states();
        ids.iter().for_each(|id| drop(states.remove(id)));
    }
}
