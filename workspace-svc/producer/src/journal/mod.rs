//! The journal: a queue on disk. Records are appended to segment files and numbered in that order; they are delivered in that order, so
//! that one number says what is done: everything up to it was counted or refused. A segment that is wholly done is removed.
//!
//! *Invariant:* what `Appender::append` has confirmed is in a file that was flushed to the disk, until it is done.

mod append;
mod folder;
mod index;
pub mod line;
mod read;
mod recover;
mod settled;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use append::{AppendError, Appender};
pub use folder::{Folder, FolderError};
pub use index::Index;
pub use read::Reader;
pub use settled::Settled;

use crate::refusal::REFUSED_FILE;

/// How large a journal may become.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Of one segment, in bytes; the record that passes it is its last.
    pub segment_bytes_max: u64,
    /// Of all segments and the refused records.
    pub journal_bytes_max: u64,
}

/// The parts of an open journal.
pub struct Journal {
    /// Where it is.
    pub folder: Arc<Folder>,
    /// Which segments there are.
    pub index: Arc<Index>,
    /// Writes at its end.
    pub appender: Appender,
    /// Reads from the first record that is not done.
    pub reader: Reader,
    /// Remembers what is done.
    pub settled: Settled,
}

impl Journal {
    /// Opens a journal, and makes it unless it is there. What a crash has left half written is dropped: it was never confirmed.
    pub fn open(path: &Path, size: Size) -> Result<Self, FolderError> {
        let folder = Arc::new(Folder::open(path)?);
        let settled = Settled::open(&folder)?;
        let segments = recover::recover(&folder, settled.last())?;
        let newest = segments.last().map_or(0, |segment| segment.last).max(settled.last());
        let index = Arc::new(Index::new(segments, folder.bytes_of(REFUSED_FILE)));
        let appender = Appender::open(Arc::clone(&folder), Arc::clone(&index), size, newest)?;
        let reader = Reader::new(Arc::clone(&folder), Arc::clone(&index), settled.last());
        Ok(Self { folder, index, appender, reader, settled })
    }
}
