//! Reads what is in the journal, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use super::folder::Folder;
use super::index::{Index, Segment};
use super::line;
use crate::usage::Record;

/// How much is read at once.
const CHUNK_BYTES: u64 = 256 * 1024;

/// The one reader of a journal. It goes no further than what is confirmed.
#[derive(Debug)]
pub struct Reader {
    folder: Arc<Folder>,
    index: Arc<Index>,
    open: Option<Open>,
    ready: VecDeque<(u64, Record)>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    first: u64,
    file: File,
    place: u64,
}

impl Reader {
    /// Begins behind this place.
    pub const fn new(folder: Arc<Folder>, index: Arc<Index>, last: u64) -> Self {
        Self { folder, index, open: None, ready: VecDeque::new(), last }
    }

    /// The next record and its place, if there is one by now.
    pub fn next(&mut self) -> io::Result<Option<(u64, Record)>> {
        loop {
            if let Some((seq, record)) = self.ready.pop_front() {
                if seq > self.last {
                    self.last = seq;
                    return Ok(Some((seq, record)));
                }
                continue;
            }
            let Some(segment) = self.index.behind(self.last) else { return Ok(None) };
            self.fill(segment)?;
        }
    }

    /// Reads a chunk of a segment that has something behind the last place; at the segment's end, goes past it.
    fn fill(&mut self, segment: Segment) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if open.first == segment.first => open,
            _ => {
                let file = File::open(self.folder.segment(segment.first))?;
                Open { first: segment.first, file, place: 0 }
            }
        };
        let rest = segment.bytes.saturating_sub(open.place);
        if rest == 0 {
            // Nothing more is in it, whatever it was said to have: the places that are missing are damaged lines.
            self.last = segment.last;
            return Ok(());
        }
        let mut chunk = Vec::new();
        open.file.seek(SeekFrom::Start(open.place))?;
        (&open.file).take(rest.min(CHUNK_BYTES)).read_to_end(&mut chunk)?;
        let whole = match chunk.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end.saturating_add(1),
            None => chunk.len(),
        };
        if whole == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment is shorter than it was"));
        }
        chunk.truncate(whole);
        self.ready.extend(chunk.split_inclusive(|byte| *byte == b'\n').filter_map(line::decode));
        open.place = open.place.saturating_add(whole.try_into().map_err(io::Error::other)?);
        self.open = Some(open);
        Ok(())
    }
}
