//! A file of usage records: CSV, or CloudEvents 1.0 in their structured form, one JSON object in each line. It is read line by line and
//! never held as a whole; a line that cannot be used is a problem of its own and stops nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use tallystick_producer::{EventId, Record, Usage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::usage_columns::{COLUMNS, Layout, split};

/// A longer line is refused: a file without line breaks is not read into memory.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a file of refused lines has in its name, before the extension.
pub const REFUSED_SUFFIX: &str = ".refused";

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, without line breaks in them.
    Csv,
    /// CloudEvents in JSON, one in each line: `subject` is the workspace, `type` the meter, `data` has quantity, dimension and count_from_time.
    #[value(name = "cloudevents")]
    CloudEvents,
}

impl Format {
    /// The one that was given, or the one of the file's extension.
    pub fn given(format: Option<Self>, file: &Path) -> anyhow::Result<Self> {
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        let of_extension = match extension.to_str() {
            Some("csv") => Some(Self::Csv),
            Some("jsonl" | "ndjson") => Some(Self::CloudEvents),
            _ => None,
        };
        format.or(of_extension).with_context(|| {
            format!("{} is neither .csv nor .jsonl nor .ndjson: say --format", file.display())
        })
    }
}

/// What foreign ids of a CSV file are ids of, unless it is said: the file's name. What was refused keeps the name of its origin, so that its
/// ids stay what they were.
pub fn source_of(file: &Path) -> String {
    let (stem, extension) = (file.file_stem().unwrap_or_default(), file.extension().unwrap_or_default());
    let (mut stem, extension) = (stem.to_string_lossy().into_owned(), extension.to_string_lossy());
    while let Some(origin) = stem.strip_suffix(REFUSED_SUFFIX) {
        stem = origin.to_owned();
    }
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// As it stands there, without its line break.
    pub text: String,
    /// How many bytes of the file end with it.
    pub end: u64,
}

/// What a line is: a record, or a problem in words.
pub type Reading = (Line, Result<Record, String>);

/// A file that is open.
#[derive(Debug)]
pub struct UsageFile<R> {
    reader: R,
    parser: Parser,
    number: u64,
    end: u64,
}

#[derive(Debug)]
enum Parser {
    Csv { source: String, layout: Layout },
    CloudEvents,
}

impl UsageFile<BufReader<File>> {
    /// Opens a file, and answers its size too.
    pub fn open(path: &Path, format: Format, source: String) -> anyhow::Result<(Self, u64)> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let size = file.metadata().with_context(|| format!("opening {}", path.display()))?.len();
        let opened = UsageFile::new(BufReader::new(file), format, source);
        Ok((opened.with_context(|| format!("reading {}", path.display()))?, size))
    }
}

impl<R: BufRead> UsageFile<R> {
    /// Begins to read; a CSV file must have its header.
    pub fn new(reader: R, format: Format, source: String) -> anyhow::Result<Self> {
        let mut file = Self { reader, parser: Parser::CloudEvents, number: 0, end: 0 };
        if format == Format::Csv {
            let header = file
                .line()?
                .context("the file is empty")?
                .map_err(|(_, problem)| anyhow::anyhow!("line 1: {problem}"))?;
            let columns = split(&header.text).unwrap_or_default();
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            let layout = Layout::of(&names)
                .with_context(|| format!("line 1 must be {}; the last may be missing", COLUMNS.join(",")))?;
            file.parser = Parser::Csv { source, layout };
        }
        Ok(file)
    }

    /// What the header of a CSV file said.
    pub fn layout(&self) -> Option<Layout> {
        match self.parser {
            Parser::Csv { layout, .. } => Some(layout),
            Parser::CloudEvents => None,
        }
    }

    /// The next line that is not blank, if there is one.
    pub fn next_line(&mut self) -> io::Result<Option<Reading>> {
        loop {
            match self.line()? {
                None => return Ok(None),
                Some(Err((line, problem))) => return Ok(Some((line, Err(problem)))),
                Some(Ok(line)) if line.text.trim().is_empty() => {}
                Some(Ok(line)) => {
                    let record = self.parser.parse(&line.text);
                    return Ok(Some((line, record)));
                }
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<Result<Line, (Line, String)>>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX).map_err(io::Error::other)?;
        let count = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        if count == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.end += u64::try_from(count).map_err(io::Error::other)?;
        let is_too_long = count == LINE_BYTES_MAX && !bytes.ends_with(b"\n") && self.skip_line()?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        // Some programs begin a file with a byte order mark.
        let bytes =
            if self.number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let is_text = std::str::from_utf8(bytes).is_ok();
        let line = Line { number: self.number, text, end: self.end };
        Ok(Some(if is_too_long {
            Err((line, format!("is longer than {LINE_BYTES_MAX} bytes")))
        } else if is_text {
            Ok(line)
        } else {
            Err((line, "is not UTF-8".to_owned()))
        }))
    }

    /// Goes on to the next line, and says whether anything was in between.
    fn skip_line(&mut self) -> io::Result<bool> {
        let mut skipped = 0_u64;
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(buffer.len(), |end| end.saturating_add(1));
            let is_over = end.is_some() || buffer.is_empty();
            self.reader.consume(count);
            skipped += u64::try_from(count).map_err(io::Error::other)?;
            if is_over {
                self.end += skipped;
                return Ok(skipped > 0);
            }
        }
    }
}

impl Parser {
    fn parse(&self, text: &str) -> Result<Record, String> {
        match self {
            Self::Csv { source, layout } => csv_record(text, source, *layout),
            Self::CloudEvents => cloud_event(text),
        }
    }
}

fn csv_record(text: &str, source: &str, layout: Layout) -> Result<Record, String> {
    let values = split(text).unwrap_or_default();
    if values.len() != layout.all {
        return Err(format!("has {} columns and not {}", values.len(), layout.all));
    }
    let mut values = values.into_iter().take(layout.own);
    let mut next = || values.next().unwrap_or_default();
    let (workspace_id, id, time, meter, dimension) = (next(), next(), next(), next(), next());
    let quantity = next();
    let from = next();
    if id.is_empty() {
        return Err("event_id must not be empty: a second run could not be told from the first".to_owned());
    }
    let event_time = instant("event_time", &time)?;
    let quantity = whole("quantity", &quantity)?;
    let count_from_time = Some(from).filter(|from| !from.is_empty());
    let count_from_time = count_from_time.map(|from| instant("count_from_time", &from)).transpose()?;
    let usage = Usage { workspace_id, meter, dimension, quantity, event_time, count_from_time };
    record(source, &id, usage)
}

/// A CloudEvent; attributes that are not named here are not looked at.
#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    quantity: Value,
    dimension: Option<String>,
    count_from_time: Option<String>,
}

fn cloud_event(text: &str) -> Result<Record, String> {
    let event: CloudEvent = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        // The parser counts lines of its own, of which there is one.
        let problem = said.split(" at line ").next().unwrap_or(&said);
        format!("is no CloudEvent: {problem}")
    })?;
    if event.specversion != "1.0" {
        return Err(format!("specversion must be 1.0, and is \"{}\"", event.specversion));
    }
    if event.id.is_empty() || event.source.is_empty() {
        return Err("id and source must not be empty".to_owned());
    }
    let quantity = match event.data.quantity {
        Value::String(text) => whole("data.quantity", &text)?,
        Value::Number(number) => whole("data.quantity", &number.to_string())?,
        _ => return Err(not_whole("data.quantity")),
    };
    let from = event.data.count_from_time;
    let usage = Usage {
        workspace_id: event.subject,
        meter: event.kind,
        dimension: event.data.dimension.unwrap_or_default(),
        quantity,
        event_time: instant("time", &event.time)?,
        count_from_time: from.map(|from| instant("data.count_from_time", &from)).transpose()?,
    };
    record(&event.source, &event.id, usage)
}

/// An id that is a UUID stays as it is; any other is an id of its source.
fn record(source: &str, id: &str, usage: Usage) -> Result<Record, String> {
    let event_id = EventId::parse(id).unwrap_or_else(|| EventId::of_foreign(source, id));
    Record::new(event_id, usage).map_err(|wrong| wrong.to_string())
}

fn instant(field: &str, text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("{field} must be a time such as 2026-11-26T08:30:00Z, and is \"{text}\""))
}

fn whole(field: &str, text: &str) -> Result<u64, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = if is_plain { text.parse().ok() } else { None };
    value.ok_or_else(|| not_whole(field))
}

fn not_whole(field: &str) -> String {
    format!("{field} must be a whole number below 10^18")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "wksp_01900000-0000-7000-8000-000000000001";
    const HEADER: &str = "workspace_id,event_id,event_time,meter,dimension,quantity\n";

    fn read(text: &[u8], format: Format) -> Vec<(u64, Result<Record, String>)> {
        let mut file = UsageFile::new(text, format, "meters.csv".to_owned()).unwrap();
        let mut found = Vec::new();
        while let Some((line, record)) = file.next_line().unwrap() {
            found.push((line.number, record));
        }
        assert_eq!(file.end, u64::try_from(text.len()).unwrap());
        found
    }

    fn problem(read: &(u64, Result<Record, String>)) -> (u64, &str) {
        (read.0, read.1.as_ref().unwrap_err())
    }

    #[test]
    fn a_csv_file_is_read_line_by_line_and_a_bad_line_stops_nothing() {
        let text = format!(
            "\u{feff}{HEADER}{WORKSPACE},01900000-0000-7000-8000-0000000000aa,2026-11-26T08:30:00+08:00,log,audit,7\r\n\
             \n\
             {WORKSPACE},\"reading, 1\",2026-11-26T00:30:00.123456789Z,pv,,12\n\
             {WORKSPACE},,2026-11-26T00:30:00Z,pv,,12\n\
             {WORKSPACE},2,yesterday,pv,,12\n\
             {WORKSPACE},3,2026-11-26T00:30:00Z,pv,,1.5\n\
             {WORKSPACE},4,2026-11-26T00:30:00Z,pv,12\n\
             wksp_1,5,2026-11-26T00:30:00Z,pv,,12\n\
             {WORKSPACE},\"6,2026-11-26T00:30:00Z,pv,,12\n\
             {WORKSPACE},7,2026-11-26T00:30:00Z,pv,,12"
        );
        let read = read(text.as_bytes(), Format::Csv);
        let first = read[0].1.as_ref().unwrap();
        assert_eq!(first.event_id.to_string(), "01900000-0000-7000-8000-0000000000aa");
        assert_eq!((first.usage.dimension.as_str(), first.usage.quantity), ("audit", 7));
        let second = read[1].1.as_ref().unwrap();
        assert_eq!((read[1].0, second.event_id), (4, EventId::of_foreign("meters.csv", "reading, 1")));
        assert_eq!(second.usage.event_time.nanosecond(), 123_456_000);
        let problems: Vec<_> = read[2..8].iter().map(problem).collect();
        assert_eq!(
            problems[0],
            (5, "event_id must not be empty: a second run could not be told from the first")
        );
        assert!(problems[1].1.starts_with("event_time must be a time"), "{problems:?}");
        assert_eq!(problems[2], (7, "quantity must be a whole number below 10^18"));
        assert_eq!(problems[3], (8, "has 5 columns and not 6"));
        assert_eq!(problems[4], (9, "workspace_id must be \"wksp_\" followed by a UUID"));
        assert_eq!(problems[5], (10, "has 2 columns and not 6"), "an open quote ends with its line");
        assert!(read[8].1.is_ok() && read.len() == 9);
    }

    #[test]
    fn a_file_of_refused_lines_can_be_read_again() {
        for (column, value) in [("", ""), (",count_from_time", ",")] {
            let text = format!(
                "workspace_id,event_id,event_time,meter,dimension,quantity{column},reason,message\n\
                 {WORKSPACE},1,2026-11-26T00:30:00Z,pv,,12{value},UNKNOWN_METER,\"there is none, yet\"\n"
            );
            assert_eq!(read(text.as_bytes(), Format::Csv)[0].1.as_ref().unwrap().usage.count_from_time, None);
        }
        assert_eq!(source_of(Path::new("/tmp/usage.refused.refused.csv")), "usage.csv");
        assert_eq!(source_of(Path::new("usage.csv")), "usage.csv");
        assert_eq!(source_of(Path::new("usage")), "usage");
    }

    #[test]
    fn from_when_it_counts_is_a_column_that_may_be_missing() {
        let text = format!(
            "workspace_id,event_id,event_time,meter,dimension,quantity,count_from_time\n\
             {WORKSPACE},1,2026-11-26T08:30:00Z,host,,3,2026-11-26T08:00:00+08:00\n\
             {WORKSPACE},2,2026-11-26T08:30:00Z,host,,3,\n\
             {WORKSPACE},3,2026-11-26T08:30:00Z,host,,3,noon\n"
        );
        let read = read(text.as_bytes(), Format::Csv);
        let from = |place: usize| read[place].1.as_ref().unwrap().usage.count_from_time;
        assert_eq!(from(0), Some(time::macros::datetime!(2026-11-26 00:00 UTC)));
        assert_eq!(from(1), None);
        assert!(problem(&read[2]).1.starts_with("count_from_time must be a time"), "{read:?}");
    }

    #[test]
    fn a_csv_file_without_its_header_is_not_begun() {
        for text in ["", "workspace_id,event_id\n", "wksp,1,2,3,4,5\n"] {
            assert!(UsageFile::new(text.as_bytes(), Format::Csv, String::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_problems_of_their_own() {
        let mut text = HEADER.as_bytes().to_vec();
        text.extend(vec![b'x'; 3 * LINE_BYTES_MAX]);
        text.extend(b"\n\xff\xfe\n");
        text.extend(format!("{WORKSPACE},7,2026-11-26T00:30:00Z,pv,,12\n").bytes());
        let read = read(&text, Format::Csv);
        assert_eq!(problem(&read[0]), (2, "is longer than 65536 bytes"));
        assert_eq!(problem(&read[1]), (3, "is not UTF-8"));
        assert!(read[2].1.is_ok() && read[2].0 == 4);
    }

    fn event(change: impl FnOnce(&mut Value)) -> Result<Record, String> {
        let mut event = serde_json::json!({
            "specversion": "1.0", "id": "17", "source": "urn:meter:7", "type": "pv", "subject": WORKSPACE,
            "time": "2026-11-26T00:30:00Z", "data": { "quantity": "12" }, "datacontenttype": "application/json"
        });
        change(&mut event);
        let text = event.to_string();
        let (number, record) = read(text.as_bytes(), Format::CloudEvents).pop().unwrap();
        assert_eq!(number, 1);
        record
    }

    #[test]
    fn a_cloud_event_is_a_record_under_the_id_of_its_source() {
        let usual = event(|_| ()).unwrap();
        assert_eq!(usual.event_id, EventId::of_foreign("urn:meter:7", "17"));
        assert_eq!((usual.usage.meter.as_str(), usual.usage.quantity), ("pv", 12));
        assert_eq!(usual.usage.workspace_id, WORKSPACE);
        let other = event(|event| event["source"] = "urn:meter:8".into()).unwrap();
        assert_ne!(other.event_id, usual.event_id);
        let uuid = "01900000-0000-7000-8000-0000000000aa";
        assert_eq!(event(|event| event["id"] = uuid.into()).unwrap().event_id.to_string(), uuid);
        let data = serde_json::json!({ "quantity": 999_999_999_999_999_999_u64, "dimension": "audit",
            "count_from_time": "2026-11-26T00:00:00Z" });
        let integer = event(|event| event["data"] = data).unwrap();
        assert_eq!(
            (integer.usage.quantity, integer.usage.dimension.as_str()),
            (999_999_999_999_999_999, "audit")
        );
        let from = (integer.usage.count_from_time, usual.usage.count_from_time);
        assert_eq!(from, (Some(time::macros::datetime!(2026-11-26 00:00 UTC)), None));
    }

    #[test]
    fn an_event_that_is_none_is_named_by_what_is_wrong() {
        let said = |change: fn(&mut Value)| event(change).unwrap_err();
        assert_eq!(said(|e| e["specversion"] = "0.3".into()), "specversion must be 1.0, and is \"0.3\"");
        assert_eq!(said(|e| e["id"] = "".into()), "id and source must not be empty");
        assert_eq!(
            said(|e| drop(e.as_object_mut().unwrap().remove("source"))),
            "is no CloudEvent: missing field `source`"
        );
        assert_eq!(
            said(|e| drop(e.as_object_mut().unwrap().remove("time"))),
            "is no CloudEvent: missing field `time`"
        );
        assert_eq!(
            said(|e| drop(e.as_object_mut().unwrap().remove("data"))),
            "is no CloudEvent: missing field `data`"
        );
        for quantity in [serde_json::json!(1.5), (-1).into(), "1e3".into(), Value::Null, true.into()] {
            let said = event(|event| event["data"]["quantity"] = quantity).unwrap_err();
            assert_eq!(said, "data.quantity must be a whole number below 10^18");
        }
        let text = event(|event| event["data"]["count_from_time"] = "noon".into()).unwrap_err();
        assert!(text.starts_with("data.count_from_time must be a time"), "{text}");
        assert!(read(b"{\n", Format::CloudEvents)[0].1.is_err());
    }

    #[test]
    fn the_extension_says_the_format_unless_it_is_given() {
        let of = |name: &str| Format::given(None, Path::new(name)).ok();
        assert_eq!(of("a.CSV"), Some(Format::Csv));
        assert_eq!((of("a.jsonl"), of("a.ndjson")), (Some(Format::CloudEvents), Some(Format::CloudEvents)));
        assert_eq!(of("a.txt"), None);
        assert_eq!(Format::given(Some(Format::Csv), Path::new("a.txt")).unwrap(), Format::Csv);
    }
}
