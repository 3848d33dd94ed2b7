//! Which segments there are, and how far they may be read.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::folder::Folder;

/// A segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The place that it begins with.
    pub first: u64,
    /// The last place in it; one below `first` while it is empty.
    pub last: u64,
    /// How far it is on disk for sure. What is behind that may not be read.
    pub bytes: u64,
}

/// The segments in order; the last one is written to.
#[derive(Debug)]
pub struct Index(Mutex<State>);

#[derive(Debug)]
struct State {
    segments: VecDeque<Segment>,
    refused_bytes: u64,
}

impl Index {
    /// Of the segments that are there.
    pub fn new(segments: Vec<Segment>, refused_bytes: u64) -> Self {
        Self(Mutex::new(State { segments: segments.into(), refused_bytes }))
    }

    /// A panic elsewhere leaves no half-done change: each is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the journal.
    pub fn bytes(&self) -> u64 {
        let state = self.state();
        state.segments.iter().map(|segment| segment.bytes).fold(state.refused_bytes, u64::saturating_add)
    }

    /// The file of refused records has this size now.
    pub fn set_refused_bytes(&self, bytes: u64) {
        self.state().refused_bytes = bytes;
    }

    /// A segment begins.
    pub fn begin(&self, first: u64) {
        self.state().segments.push_back(Segment { first, last: first.saturating_sub(1), bytes: 0 });
    }

    /// The newest segment is on disk up to here.
    pub fn extend(&self, last: u64, bytes: u64) {
        if let Some(newest) = self.state().segments.back_mut() {
            newest.last = last;
            newest.bytes = bytes;
        }
    }

    /// The first segment that has anything behind this place.
    pub fn behind(&self, place: u64) -> Option<Segment> {
        self.state().segments.iter().find(|segment| segment.last > place && segment.bytes > 0).copied()
    }

    /// Removes the files of segments that are wholly done. The newest stays, since it is written to. What cannot be removed now is
    /// tried again the next time.
    pub fn remove_done(&self, folder: &Folder, done: u64) -> io::Result<()> {
        let mut state = self.state();
        while state.segments.len() > 1 && state.segments.front().is_some_and(|segment| segment.last <= done) {
            let Some(segment) = state.segments.front() else { break };
            match std::fs::remove_file(folder.segment(segment.first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(state.segments.pop_front()),
            }
        }
        Ok(())
    }
}
