//! The folder of a journal, and the names in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A folder that this process alone has open, for as long as any part of the producer holds it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock lives as long as the file is open; the system lifts it when the process dies.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process, or another producer of this one, has it open.
    #[error("the folder is in use by another producer")]
    InUse,
    /// The disk refuses.
    #[error("the folder cannot be used")]
    Disk(#[from] io::Error),
}

impl Folder {
    /// Makes the folder unless it is there, and locks it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path)?;
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The segment that begins with a place in the order.
    pub fn segment(&self, first: u64) -> PathBuf {
        self.path.join(format!("segment-{first:020}.log"))
    }

    /// The places that segments begin with, in order.
    pub fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let first = name.to_str().and_then(|name| name.strip_prefix("segment-")?.strip_suffix(".log"));
            if let Some(first) = first.and_then(|first| first.parse().ok()) {
                found.push(first);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Has the disk keep names that were made: a file whose name is lost is lost.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Writes a file as a whole.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.file(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        self.sync()
    }

    /// How large a file is; one that is not there has no bytes.
    pub fn bytes_of(&self, name: &str) -> u64 {
        std::fs::metadata(self.file(name)).map_or(0, |metadata| metadata.len())
    }
}
