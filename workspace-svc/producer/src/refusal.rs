//! Records that the service does not count.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use tallystick_proto::common::v1::ErrorReason;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::journal::Folder;
use crate::usage::Record;

/// Where refused records are kept, in the journal's folder.
pub const REFUSED_FILE: &str = "refused.csv";

const HEADER: &str =
    "workspace_id,event_id,event_time,meter,dimension,quantity,count_from_time,reason,message\n";

/// A record that was not counted, and is not sent again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The record.
    pub record: Record,
    /// Why.
    pub reason: ErrorReason,
    /// Which field or value, in words.
    pub message: String,
}

/// Is told of refused records. Any `Fn(&Refused)` is one.
pub trait RefusalHandler: Send + Sync + 'static {
    /// Called once the record is in `refused.csv`; after a crash perhaps once more. It holds up what comes after: hand the record on
    /// and return.
    fn refused(&self, refused: &Refused);
}

impl<F: Fn(&Refused) + Send + Sync + 'static> RefusalHandler for F {
    fn refused(&self, refused: &Refused) {
        self(refused);
    }
}

/// Adds records to the file and has the disk keep it; answers how large it is. Whoever looks after them may take the file away at any
/// time: it is opened anew each time.
pub fn keep(folder: &Folder, refused: &[Refused]) -> io::Result<u64> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.file(REFUSED_FILE))?;
    let begun = file.metadata()?.len();
    let mut text = String::new();
    if begun == 0 {
        text.push_str(HEADER);
    }
    for refused in refused {
        text.push_str(&row(refused)?);
    }
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // A row that is there in part would spoil the next; it is written again.
        file.set_len(begun)?;
        return Err(error);
    }
    if begun == 0 {
        folder.sync()?;
    }
    Ok(file.metadata()?.len())
}

fn row(refused: &Refused) -> io::Result<String> {
    let usage = &refused.record.usage;
    let written = |time: OffsetDateTime| time.format(&Rfc3339).map_err(io::Error::other);
    let time = written(usage.event_time)?;
    let from = usage.count_from_time.map(written).transpose()?.unwrap_or_default();
    Ok(format!(
        "{},{},{time},{},{},{},{from},{},\"{}\"\n",
        usage.workspace_id,
        refused.record.event_id,
        usage.meter,
        usage.dimension,
        usage.quantity,
        refused.reason.as_str_name().trim_start_matches("ERROR_REASON_"),
        refused.message.replace('"', "\"\"").replace(['\r', '\n'], " "),
    ))
}
