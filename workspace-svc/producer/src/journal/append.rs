//! Writes at the end of the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::Arc;

use super::folder::Folder;
use super::index::Index;
use super::{Size, line};
use crate::refusal::REFUSED_FILE;
use crate::usage::Record;

/// Why a record is not in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendError {
    /// It would be larger than it may become.
    Full,
    /// The disk did not take it. Nothing of it is left.
    NotWritten(io::ErrorKind),
    /// The disk did not say whether it has it. From now on nothing is taken: the journal has to be opened again.
    Uncertain(io::ErrorKind),
}

/// The one writer of a journal.
#[derive(Debug)]
pub struct Appender {
    folder: Arc<Folder>,
    index: Arc<Index>,
    size: Size,
    file: File,
    bytes: u64,
    last: u64,
    broken: Option<io::ErrorKind>,
}

impl Appender {
    /// Begins a segment behind the last place.
    pub fn open(folder: Arc<Folder>, index: Arc<Index>, size: Size, last: u64) -> io::Result<Self> {
        let file = begin(&folder, &index, last)?;
        Ok(Self { folder, index, size, file, bytes: 0, last, broken: None })
    }

    /// The last place that is confirmed.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Stores a group of records with one flush of the disk. The first ones fit, the answer says how many; the rest has the error.
    pub fn append(&mut self, records: &[Record]) -> (usize, Option<AppendError>) {
        if let Some(kind) = self.broken {
            return (0, Some(AppendError::Uncertain(kind)));
        }
        if let Err(error) = self.begin_if_large() {
            return (0, Some(AppendError::NotWritten(error.kind())));
        }
        let mut room = self.room();
        let mut text = String::new();
        let mut last = self.last;
        let mut count = 0;
        for record in records {
            let line = line::encode(last.saturating_add(1), record);
            let Some(rest) = room.checked_sub(line.len().try_into().unwrap_or(u64::MAX)) else { break };
            room = rest;
            text.push_str(&line);
            last = last.saturating_add(1);
            count += 1;
        }
        let full = (count < records.len()).then_some(AppendError::Full);
        if count == 0 {
            return (0, full);
        }
        match self.write(text.as_bytes(), last) {
            Ok(()) => (count, full),
            Err(error) => (0, Some(error)),
        }
    }

    /// How many bytes may be added. Refused records may have been taken away by hand: they are looked at before saying no.
    fn room(&self) -> u64 {
        let room = self.size.journal_bytes_max.saturating_sub(self.index.bytes());
        if room > self.size.segment_bytes_max {
            return room;
        }
        self.index.set_refused_bytes(self.folder.bytes_of(REFUSED_FILE));
        self.size.journal_bytes_max.saturating_sub(self.index.bytes())
    }

    fn write(&mut self, bytes: &[u8], last: u64) -> Result<(), AppendError> {
        if let Err(error) = self.file.write_all(bytes) {
            // What was written in part is cut off, so that the next group follows what is confirmed.
            return Err(match self.file.set_len(self.bytes) {
                Ok(()) => AppendError::NotWritten(error.kind()),
                Err(worse) => self.give_up(worse.kind()),
            });
        }
        // Because: after a flush that failed the system may have dropped what it could not write, and a second flush would not say so.
        if let Err(error) = self.file.sync_data() {
            return Err(self.give_up(error.kind()));
        }
        self.bytes = self.bytes.saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        self.last = last;
        self.index.extend(self.last, self.bytes);
        Ok(())
    }

    const fn give_up(&mut self, kind: io::ErrorKind) -> AppendError {
        self.broken = Some(kind);
        AppendError::Uncertain(kind)
    }

    fn begin_if_large(&mut self) -> io::Result<()> {
        if self.bytes >= self.size.segment_bytes_max {
            self.file = begin(&self.folder, &self.index, self.last)?;
            self.bytes = 0;
        }
        Ok(())
    }
}

/// Opened for appending, so that a write after a cut goes to the end.
fn begin(folder: &Folder, index: &Index, last: u64) -> io::Result<File> {
    let first = last.saturating_add(1);
    let file = OpenOptions::new().create(true).append(true).open(folder.segment(first))?;
    file.set_len(0)?;
    folder.sync()?;
    index.begin(first);
    Ok(file)
}
