//! What an earlier process has left: which records are there, and what is torn.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};

use super::folder::Folder;
use super::index::Segment;
use super::line;

/// What is in a segment file.
#[derive(Debug, Default)]
struct Scan {
    /// The last place in it; 0 when nothing is.
    last: u64,
    /// Behind the last good line.
    good_bytes: u64,
    /// What is between good lines and is none.
    damaged: Vec<u8>,
    /// What is behind the last good line.
    tail: Vec<u8>,
}

/// Finds the segments, removes those that are done or empty, and cuts off what is torn at the end of the newest: nobody was told
/// that it was stored. Damage elsewhere is kept in a file of its own, and said.
pub fn recover(folder: &Folder, done: u64) -> io::Result<Vec<Segment>> {
    let firsts = folder.segments()?;
    let newest = firsts.last().copied();
    let mut segments = Vec::new();
    for first in firsts {
        let path = folder.segment(first);
        let mut scan = scan(&File::open(&path)?, first)?;
        if Some(first) == newest {
            if !scan.tail.is_empty() {
                tracing::info!(bytes = scan.tail.len(), "what a crash left half written is dropped");
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(scan.good_bytes)?;
                file.sync_all()?;
            }
        } else {
            scan.damaged.append(&mut scan.tail);
        }
        if !scan.damaged.is_empty() {
            let name = format!("damaged-{first:020}");
            tracing::error!(bytes = scan.damaged.len(), file = name, "the journal is damaged");
            folder.write(&name, &scan.damaged)?;
        }
        if scan.last <= done {
            std::fs::remove_file(&path)?;
        } else {
            segments.push(Segment { first, last: scan.last, bytes: scan.good_bytes });
        }
    }
    Ok(segments)
}

fn scan(file: &File, first: u64) -> io::Result<Scan> {
    let mut reader = BufReader::new(file);
    let mut scan = Scan::default();
    let mut place = 0;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // A segment is at most SEGMENT_BYTES_MAX and a group, and so is a line without an end.
        let count = reader.read_until(b'\n', &mut bytes)?;
        if count == 0 {
            return Ok(scan);
        }
        place += u64::try_from(count).map_err(io::Error::other)?;
        match line::decode(&bytes) {
            Some((seq, _)) if seq >= first && seq > scan.last => {
                let mut between = std::mem::take(&mut scan.tail);
                scan.damaged.append(&mut between);
                scan.last = seq;
                scan.good_bytes = place;
            }
            _ => scan.tail.extend_from_slice(&bytes),
        }
    }
}
