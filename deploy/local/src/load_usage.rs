//! Loads a file of usage records: reads it line by line, sends it over the acked stream with a window of batches under way, and writes what
//! was refused beside it. The file is its own journal: ids follow from the lines, so that a second run counts nothing twice.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use tallystick_producer::delivery::{Batch, Link, Receipt, Undelivered, bytes_of, deliver, endpoint};
use tallystick_producer::{TokenFile, limits};
use tokio::sync::{mpsc, watch};

use crate::screen;
use crate::usage_columns::{COLUMNS, Layout, REFUSED_COLUMNS};
use crate::usage_file::{Format, Line, REFUSED_SUFFIX, UsageFile, source_of};

/// Records in a batch.
const BATCH_RECORDS: usize = 1_000;
/// Bytes of a batch.
const BATCH_BYTES: usize = 512 * 1024;
/// Problems that are shown; all of them are in the file of refused lines.
const PROBLEMS_SHOWN: usize = 20;
/// Bad lines that wait to be written down.
const PROBLEMS_WAITING_MAX: usize = 64;
/// Without an ack for so long the load ends: it can be run again.
const PATIENCE: Duration = Duration::from_secs(60);
/// A slower ack is none.
const ACK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two tries.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// What to load, and where to.
#[derive(Debug, Clone)]
pub struct Load {
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub format: Format,
    /// What its foreign ids are ids of; its name unless it is said.
    pub source: Option<String>,
    /// Where workspace-svc is, such as `http://127.0.0.1:50052`.
    pub address: String,
    /// Where the token is; it is read again for every stream.
    pub token_file: PathBuf,
}

/// How many lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// That are not blank.
    pub read: u64,
    /// Counted now.
    pub accepted: u64,
    /// Counted before.
    pub duplicates: u64,
    /// Of the accepted, those that came after their day was closed.
    pub late: u64,
    /// Not counted: bad lines, and what the service refused.
    pub refused: u64,
}

/// What came of a load.
#[derive(Debug)]
pub struct Report {
    /// The numbers.
    pub counts: Counts,
    /// The first problems, by line.
    pub problems: Vec<String>,
    /// Where all refused lines are, if there are any.
    pub refused_file: Option<PathBuf>,
    /// Why it ended early, if it did.
    pub undelivered: Option<Undelivered>,
}

/// A line that was not counted.
struct Problem {
    line: Line,
    reason: String,
    message: String,
}

/// Loads a file to its end, or until nothing has been acked for a minute.
pub async fn load(load: &Load) -> anyhow::Result<Report> {
    let source = load.source.clone().unwrap_or_else(|| source_of(&load.file));
    let (file, size) = UsageFile::open(&load.file, load.format, source)?;
    anyhow::ensure!(load.token_file.exists(), "there is no token in {}", load.token_file.display());
    let (trouble, trouble_heard) = watch::channel(None);
    let link = Link {
        endpoint: endpoint(&load.address).with_context(|| format!("--address {}", load.address))?,
        token: Arc::new(TokenFile::new(load.token_file.clone())),
        window: limits::WINDOW_MAX,
        ack_wait_max: ACK_WAIT_MAX,
        backoff: BACKOFF,
        give_up_after: Some(PATIENCE),
        trouble,
    };
    let (batches, batches_heard) = mpsc::channel(1);
    let (problems, problems_heard) = mpsc::channel(PROBLEMS_WAITING_MAX);
    let (receipts, receipts_heard) = mpsc::channel(1);
    let mut desk = Desk::new(load, file.layout(), size)?;
    let reading = tokio::task::spawn_blocking(move || read(file, &batches, &problems));
    let delivering = tokio::spawn(deliver(link, batches_heard, receipts));
    desk.take_down(receipts_heard, problems_heard, trouble_heard).await?;
    let undelivered = delivering.await.context("delivering")?.err();
    desk.counts.read = reading.await.context("reading")?.with_context(|| load.file.display().to_string())?;
    desk.report(undelivered)
}

/// Reads the file into batches, and answers how many lines it had. When nobody takes them any more it stops.
fn read<R: std::io::BufRead>(
    mut file: UsageFile<R>,
    batches: &mpsc::Sender<Batch<Line>>,
    problems: &mpsc::Sender<Problem>,
) -> std::io::Result<u64> {
    let mut count = 0;
    let (mut items, mut bytes) = (Vec::new(), 0_usize);
    while let Some((line, record)) = file.next_line()? {
        count += 1;
        let record = match record {
            Ok(record) => record.to_wire(),
            Err(message) => {
                let problem = Problem { line, reason: "RECORD_MALFORMED".to_owned(), message };
                if problems.blocking_send(problem).is_err() {
                    return Ok(count);
                }
                continue;
            }
        };
        // A line is far smaller than what is left of the contract's limit.
        bytes += bytes_of(&record);
        items.push((line, record));
        if items.len() == BATCH_RECORDS || bytes >= BATCH_BYTES {
            bytes = 0;
            if batches.blocking_send(Batch { items: std::mem::take(&mut items) }).is_err() {
                return Ok(count);
            }
        }
    }
    if !items.is_empty() {
        // Nobody may take it any more, which the end of the delivery says.
        let _ = batches.blocking_send(Batch { items });
    }
    Ok(count)
}

/// Takes down what becomes of the lines.
struct Desk {
    /// Of a CSV file.
    layout: Option<Layout>,
    counts: Counts,
    problems: Vec<String>,
    refused_path: PathBuf,
    refused_file: Option<File>,
    bar: ProgressBar,
}

impl Desk {
    fn new(load: &Load, layout: Option<Layout>, size: u64) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("  [{wide_bar}] {bytes}/{total_bytes} {eta}\n  {msg}")?;
        Ok(Self {
            layout,
            counts: Counts::default(),
            problems: Vec::new(),
            refused_path: refused_path(&load.file),
            refused_file: None,
            // Drawn on the standard error, and only where that is a terminal.
            bar: ProgressBar::new(size).with_style(style.progress_chars("=> ")),
        })
    }

    async fn take_down(
        &mut self,
        mut receipts: mpsc::Receiver<Receipt<Line>>,
        mut problems: mpsc::Receiver<Problem>,
        mut trouble: watch::Receiver<Option<String>>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                Some(receipt) = receipts.recv() => self.receipt(receipt)?,
                Some(problem) = problems.recv() => self.problem(problem)?,
                Ok(()) = trouble.changed() => {
                    if let Some(problem) = trouble.borrow_and_update().as_ref() {
                        self.bar.set_message(format!("waiting: {problem}"));
                    }
                }
                else => return Ok(()),
            }
        }
    }

    fn receipt(&mut self, receipt: Receipt<Line>) -> anyhow::Result<()> {
        self.counts.accepted += receipt.accepted_count;
        self.counts.duplicates += receipt.duplicate_count;
        self.counts.late += receipt.late_count;
        if let Some((line, _)) = receipt.items.last() {
            self.bar.set_position(line.end);
        }
        for refusal in receipt.refusals {
            let (line, _) =
                receipt.items.get(refusal.index).context("a refusal of a line that is not there")?;
            let reason = refusal.reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
            self.problem(Problem { line: line.clone(), reason, message: refusal.message })?;
        }
        let Counts { accepted, duplicates, refused, .. } = self.counts;
        self.bar.set_message(format!("{accepted} accepted, {duplicates} duplicates, {refused} refused"));
        Ok(())
    }

    /// Every refused line goes into the file; the first ones are shown as well.
    fn problem(&mut self, problem: Problem) -> anyhow::Result<()> {
        self.counts.refused += 1;
        if self.problems.len() < PROBLEMS_SHOWN {
            let Problem { line, reason, message } = &problem;
            self.problems.push(format!("line {}: {reason}: {message}", line.number));
        }
        let row = match self.layout {
            Some(layout) => csv_row(layout, &problem)?,
            None => json_row(&problem),
        };
        let writing = || format!("writing {}", self.refused_path.display());
        let file = match &mut self.refused_file {
            Some(file) => file,
            none => {
                let file = none.insert(File::create(&self.refused_path).with_context(writing)?);
                if self.layout.is_some() {
                    let columns: Vec<&str> = COLUMNS.into_iter().chain(REFUSED_COLUMNS).collect();
                    writeln!(file, "{}", columns.join(",")).with_context(writing)?;
                }
                file
            }
        };
        file.write_all(row.as_bytes()).with_context(writing)
    }

    fn report(self, undelivered: Option<Undelivered>) -> anyhow::Result<Report> {
        self.bar.finish_and_clear();
        let refused_file = match self.refused_file {
            Some(file) => {
                file.sync_all().with_context(|| format!("writing {}", self.refused_path.display()))?;
                Some(self.refused_path)
            }
            None => None,
        };
        Ok(Report { counts: self.counts, problems: self.problems, refused_file, undelivered })
    }
}

/// `usage.csv` has its refused lines in `usage.refused.csv`.
fn refused_path(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_os_string();
    name.push(REFUSED_SUFFIX);
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

/// The line's own values, then reason and message.
fn csv_row(layout: Layout, problem: &Problem) -> anyhow::Result<String> {
    let mut values = layout.row(&problem.line.text);
    values.extend([problem.reason.clone(), problem.message.clone()]);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&values)?;
    Ok(String::from_utf8(writer.into_inner().map_err(|error| error.into_error())?)?)
}

/// The event with two more attributes; a line that is no object is kept as a text.
fn json_row(problem: &Problem) -> String {
    let event: Option<Map<String, Value>> = serde_json::from_str(&problem.line.text).ok();
    let text = || Map::from_iter([("refusedline".to_owned(), Value::from(problem.line.text.clone()))]);
    let mut event = event.unwrap_or_else(text);
    event.insert("refusalreason".to_owned(), problem.reason.clone().into());
    event.insert("refusalmessage".to_owned(), problem.message.clone().into());
    format!("{}\n", Value::Object(event))
}

/// Shows what came of a load.
pub fn show(report: &Report) {
    let Counts { read, accepted, duplicates, late, refused } = report.counts;
    screen::step(&format!(
        "read {read}, accepted {accepted}, duplicates {duplicates}, late {late}, refused {refused}"
    ));
    for problem in &report.problems {
        screen::step(problem);
    }
    let more = refused.saturating_sub(report.problems.len().try_into().unwrap_or(u64::MAX));
    if more > 0 {
        screen::step(&format!("and {more} more"));
    }
    if let Some(file) = &report.refused_file {
        screen::step(&format!("refused lines are in {}", file.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Problem {
        let line = Line { number: 3, text: text.to_owned(), end: 9 };
        Problem { line, reason: "UNKNOWN_METER".to_owned(), message: "no \"x\", yet".to_owned() }
    }

    #[test]
    fn refused_lines_stand_beside_the_file_and_keep_what_they_were() {
        assert_eq!(refused_path(Path::new("/a/usage.csv")), Path::new("/a/usage.refused.csv"));
        assert_eq!(refused_path(Path::new("usage")), Path::new("usage.refused"));
        let header = b"workspace_id,event_id,event_time,meter,dimension,quantity\n".as_slice();
        let layout = UsageFile::new(header, Format::Csv, String::new()).unwrap().layout().unwrap();
        assert_eq!(
            csv_row(layout, &problem("w,1,t,m,,5")).unwrap(),
            "w,1,t,m,,5,,UNKNOWN_METER,\"no \"\"x\"\", yet\"\n"
        );
        let event: Value = serde_json::from_str(&json_row(&problem("{\"id\":\"7\"}"))).unwrap();
        assert_eq!((&event["id"], &event["refusalreason"]), (&"7".into(), &"UNKNOWN_METER".into()));
        let event: Value = serde_json::from_str(&json_row(&problem("{"))).unwrap();
        assert_eq!(event["refusedline"], "{");
    }
}
