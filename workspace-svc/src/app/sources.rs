//! Remembers which items are fed by records: once said, it holds for ever, and need not be asked again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use chassis::civil::UsageDate;
use chassis::id::WorkspaceId;

use super::admit_records::Candidate;
use crate::store::usage_sources::Fed;

/// Sources that are remembered at most; then it begins anew.
const KEPT_MAX: usize = 200_000;

type Source = (WorkspaceId, UsageDate, i16);

fn source(candidate: &Candidate<'_>) -> Source {
    (candidate.key.workspace_id, candidate.key.usage_date, candidate.meter.meter_id)
}

/// What is remembered: the meters of workspaces on days whose item is fed by records.
#[derive(Default)]
pub struct Sources(Mutex<HashSet<Source, foldhash::fast::RandomState>>);

impl Sources {
    /// The items of these that are not known to be fed by records.
    pub fn unknown(&self, candidates: &[Candidate<'_>]) -> HashSet<Fed> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = HashSet::new();
        for candidate in candidates {
            if !known.contains(&source(candidate)) {
                unknown.insert(candidate.fed());
            }
        }
        unknown
    }

    /// Remembers what was committed.
    pub fn remember(&self, committed: &[Candidate<'_>]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.extend(committed.iter().map(source));
    }
}
