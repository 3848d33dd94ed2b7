use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::usage::tests::usage;
use crate::usage::{EventId, Record};

const SIZE: Size = Size { segment_bytes_max: 600, journal_bytes_max: 1024 * 1024 };

/// A folder of one's own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tallystick-journal-{}-{number}", std::process::id()));
        Self(path)
    }

    fn open(&self) -> Journal {
        Journal::open(&self.0, SIZE).unwrap()
    }

    /// What is in the folder, without the lock of who still has it open: what a dead process leaves.
    fn copy(&self) -> Self {
        let copy = Self::new();
        std::fs::create_dir_all(&copy.0).unwrap();
        for entry in std::fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
        copy
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        found.sort();
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn records(count: u64) -> Vec<Record> {
    (0..count).map(|number| Record::new(EventId::new(), usage(number)).unwrap()).collect()
}

fn rest(journal: &mut Journal) -> Vec<Record> {
    std::iter::from_fn(|| journal.reader.next().unwrap()).map(|(_, record)| record).collect()
}

#[test]
fn what_was_stored_is_read_in_order_by_this_process_and_by_the_next() {
    let scratch = Scratch::new();
    let stored = records(20);
    let mut journal = scratch.open();
    for group in stored.chunks(3) {
        assert_eq!(journal.appender.append(group), (group.len(), None));
    }
    assert!(scratch.segments().len() > 3);
    assert_eq!(rest(&mut journal), stored);
    drop(journal);
    assert_eq!(rest(&mut scratch.open()), stored);
}

#[test]
fn segments_that_are_wholly_done_are_removed_and_the_next_process_begins_behind_them() {
    let scratch = Scratch::new();
    let stored = records(20);
    let mut journal = scratch.open();
    stored.chunks(4).for_each(|group| assert_eq!(journal.appender.append(group).1, None));
    let before = scratch.segments().len();
    journal.settled.advance(9).unwrap();
    journal.index.remove_done(&journal.folder, 9).unwrap();
    assert!(scratch.segments().len() < before);
    drop(journal);
    let mut journal = scratch.open();
    assert_eq!(rest(&mut journal), stored[9..]);
    journal.settled.advance(20).unwrap();
    drop(journal);
    let journal = scratch.open();
    assert_eq!(scratch.segments().len(), 1, "the empty one that is written to");
    assert_eq!(journal.appender.last(), 20, "places are not used twice");
    assert_eq!(journal.index.bytes(), 0);
}

#[test]
fn a_torn_tail_is_dropped_and_what_comes_after_is_read() {
    let scratch = Scratch::new();
    let stored = records(3);
    let mut journal = scratch.open();
    journal.appender.append(&stored);
    drop(journal);
    let path = scratch.segments().pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, bytes).unwrap();
    let mut journal = scratch.open();
    let later = records(2);
    journal.appender.append(&later);
    let expected: Vec<_> = stored[..2].iter().chain(&later).cloned().collect();
    assert_eq!(rest(&mut journal), expected);
    drop(journal);
    assert_eq!(rest(&mut scratch.open()), expected);
    assert!(
        std::fs::read_dir(&scratch.0)
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_str().unwrap().starts_with("damaged") })
    );
}

#[test]
fn damage_in_the_middle_costs_its_own_line_only_and_is_kept() {
    let scratch = Scratch::new();
    let stored = records(5);
    let mut journal = scratch.open();
    journal.appender.append(&stored);
    drop(journal);
    let path = scratch.segments().pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    bytes[second] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let expected: Vec<_> = stored.iter().take(1).chain(&stored[2..]).cloned().collect();
    let mut journal = scratch.open();
    assert_eq!(rest(&mut journal), expected);
    let damaged = std::fs::read_to_string(scratch.0.join("damaged-00000000000000000001")).unwrap();
    assert_eq!(damaged.lines().count(), 1);
}

#[test]
fn a_full_journal_takes_what_fits_and_then_nothing_until_something_is_done() {
    let scratch = Scratch::new();
    let size = Size { segment_bytes_max: 300, journal_bytes_max: 1_200 };
    let mut journal = Journal::open(&scratch.0, size).unwrap();
    let stored = records(20);
    let (mut count, mut error) = (0, None);
    while error.is_none() {
        let (more, problem) = journal.appender.append(&stored[count..count + 2]);
        (count, error) = (count + more, problem);
    }
    assert_eq!(error, Some(AppendError::Full));
    assert!((7..=11).contains(&count), "{count}");
    assert_eq!(journal.appender.append(&stored[..1]), (0, Some(AppendError::Full)));
    let done = u64::try_from(count).unwrap() - 1;
    journal.index.remove_done(&journal.folder, done).unwrap();
    assert_eq!(journal.appender.append(&stored[..1]), (1, None));
}

#[test]
fn refused_records_count_until_they_are_taken_away() {
    let scratch = Scratch::new();
    let journal = scratch.open();
    std::fs::write(scratch.0.join(REFUSED_FILE), vec![b'x'; 1024 * 1024]).unwrap();
    drop(journal);
    let mut journal = scratch.open();
    assert_eq!(journal.appender.append(&records(1)), (0, Some(AppendError::Full)));
    std::fs::remove_file(scratch.0.join(REFUSED_FILE)).unwrap();
    assert_eq!(journal.appender.append(&records(1)), (1, None));
}

#[test]
fn a_folder_is_one_producers() {
    let scratch = Scratch::new();
    let journal = scratch.open();
    assert!(matches!(Journal::open(&scratch.0, SIZE), Err(FolderError::InUse)));
    drop(journal);
    scratch.open();
}

#[test]
fn of_two_marks_the_greater_whole_one_counts() {
    let scratch = Scratch::new();
    let folder = Folder::open(&scratch.0).unwrap();
    let mut settled = Settled::open(&folder).unwrap();
    for last in [3, 8, 12] {
        settled.advance(last).unwrap();
    }
    assert_eq!(Settled::open(&folder).unwrap().last(), 12);
    // A crash in the middle of the next one, which is written over 8.
    let path = scratch.0.join("settled");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40..50].fill(b'9');
    std::fs::write(&path, &bytes).unwrap();
    let mut settled = Settled::open(&folder).unwrap();
    assert_eq!(settled.last(), 12);
    settled.advance(13).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("00000000000000000012 ") && text.contains("00000000000000000013 "), "{text}");
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Settle(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..6).prop_map(Step::Append),
        3 => (1_u64..6).prop_map(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The crash comes while a group is written: any part of it is on disk, perhaps with a part lost in the middle, perhaps with rubbish
    /// behind. What the next process finds begins with everything that was confirmed and is not done, in order; then comes what of the
    /// unconfirmed group is whole.
    #[test]
    fn no_crash_point_loses_a_confirmed_record(
        steps in prop::collection::vec(step(), 1..14),
        unconfirmed in 0_u64..5,
        cut in 0_usize..700,
        hole in prop::option::of((0_usize..700, 1_usize..200)),
        rubbish in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let scratch = Scratch::new();
        let mut journal = scratch.open();
        let (mut confirmed, mut done) = (Vec::new(), 0_usize);
        for step in steps {
            match step {
                Step::Append(count) => {
                    let group = records(count);
                    prop_assert_eq!(journal.appender.append(&group).1, None);
                    confirmed.extend(group);
                }
                Step::Settle(count) => {
                    done = confirmed.len().min(done + usize::try_from(count).unwrap());
                    let place = u64::try_from(done).unwrap();
                    journal.settled.advance(place).unwrap();
                    journal.index.remove_done(&journal.folder, place).unwrap();
                }
                Step::Restart => {
                    drop(journal);
                    journal = scratch.open();
                }
            }
        }
        let crashed = scratch.copy();
        let torn = records(unconfirmed);
        let mut written = String::new();
        for (seq, record) in (journal.appender.last() + 1..).zip(&torn) {
            written.push_str(&line::encode(seq, record));
        }
        let mut written = written.into_bytes();
        written.truncate(cut);
        if let Some((from, length)) = hole {
            let to = written.len().min(from + length);
            written.get_mut(from..to).into_iter().for_each(|hole| hole.fill(0));
        }
        written.extend(rubbish);
        let path = crashed.segments().pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(written);
        std::fs::write(&path, bytes).unwrap();

        let found = rest(&mut crashed.open());
        let owed = &confirmed[done..];
        prop_assert!(found.len() >= owed.len(), "{} of {}", found.len(), owed.len());
        prop_assert_eq!(&found[..owed.len()], owed);
        prop_assert!(found[owed.len()..].iter().all(|record| torn.contains(record)));
        // And the process after that one finds the same.
        prop_assert_eq!(rest(&mut crashed.open()), found);
    }
}
