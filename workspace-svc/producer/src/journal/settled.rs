//! How far the journal is done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use super::folder::Folder;
use super::line::checksum;

const FILE: &str = "settled";
/// A number of 20 digits, a space, a checksum of 8, a line break.
const SLOT_BYTES: u64 = 30;

/// The last place that is done. Two lines are written in turn, so that one is whole whatever happens; the greater one counts. It is
/// not flushed each time: a number that is too small only has records sent again, which the service knows.
#[derive(Debug)]
pub struct Settled {
    file: File,
    last: u64,
    second: bool,
}

impl Settled {
    /// Reads what an earlier process has left; nothing is done in a new folder.
    pub fn open(folder: &Folder) -> io::Result<Self> {
        let path = folder.file(FILE);
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let last = text.lines().filter_map(number).max().unwrap_or(0);
        // The line that holds the greatest number is not the next to be written.
        let second = text.lines().next().and_then(number) == Some(last);
        Ok(Self { file, last, second })
    }

    /// The last place that is done.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Everything up to this place is done.
    pub fn advance(&mut self, last: u64) -> io::Result<()> {
        self.last = last;
        let number = format!("{last:020}");
        let slot = format!("{number} {:08x}\n", checksum(number.as_bytes()));
        self.file.seek(SeekFrom::Start(if self.second { SLOT_BYTES } else { 0 }))?;
        self.file.write_all(slot.as_bytes())?;
        self.second = !self.second;
        Ok(())
    }

    /// Has the disk keep it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn number(line: &str) -> Option<u64> {
    let (number, sum) = line.split_once(' ')?;
    let right = u32::from_str_radix(sum, 16).ok()? == checksum(number.as_bytes());
    if right { number.parse().ok() } else { None }
}
