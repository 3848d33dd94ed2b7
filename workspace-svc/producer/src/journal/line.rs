//! One record as a line of the journal: a checksum, its place in the order, and its fields, separated by spaces. No field can have a
//! space or a line break in it: `Record::new` refuses both. The last field, from when it counts, is there only if the record has it.

use time::OffsetDateTime;

use crate::usage::{EventId, Record, Usage};

/// The line of a record, with its line break.
pub fn encode(seq: u64, record: &Record) -> String {
    let usage = &record.usage;
    let micros = |time: OffsetDateTime| time.unix_timestamp_nanos() / 1_000;
    let from = usage.count_from_time.map(|time| format!(" {}", micros(time))).unwrap_or_default();
    let content = format!(
        "{seq} {} {} {} {} {} {}{from}",
        record.event_id,
        micros(usage.event_time),
        usage.workspace_id,
        usage.meter,
        usage.dimension,
        usage.quantity
    );
    format!("{:08x} {content}\n", checksum(content.as_bytes()))
}

/// The record of a line, or nothing when it is torn or damaged.
pub fn decode(line: &[u8]) -> Option<(u64, Record)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, content) = text.split_once(' ')?;
    if sum.len() != 8 || u32::from_str_radix(sum, 16).ok()? != checksum(content.as_bytes()) {
        return None;
    }
    let mut fields = content.split(' ');
    let mut next = || fields.next();
    let seq = next()?.parse().ok()?;
    let event_id = EventId::parse(next()?)?;
    let event_time = instant(next()?)?;
    let (workspace_id, meter, dimension) = (next()?.to_owned(), next()?.to_owned(), next()?.to_owned());
    let quantity = next()?.parse().ok()?;
    let count_from_time = match next() {
        Some(micros) => Some(instant(micros)?),
        None => None,
    };
    let usage = Usage { workspace_id, meter, dimension, quantity, event_time, count_from_time };
    Some((seq, Record::new(event_id, usage).ok()?))
}

fn instant(micros: &str) -> Option<OffsetDateTime> {
    let micros: i128 = micros.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(micros.checked_mul(1_000)?).ok()
}

/// CRC-32 as everybody computes it, bit by bit: lines are short.
pub fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (sum & 1).wrapping_neg();
            sum = (sum >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::usage::tests::usage;

    #[test]
    fn the_checksum_is_the_one_that_everybody_computes() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    fn at(micros: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(micros)
    }

    proptest! {
        #[test]
        fn a_line_reads_back_as_what_it_was(
            seq in any::<u64>(),
            quantity in 0_u64..=999_999_999_999_999_999,
            dimension in "[a-z0-9_-]{0,64}",
            micros in 0_i64..32_000_000_000_000_000,
            from in prop::option::of(0_i64..32_000_000_000_000_000),
        ) {
            let mut usage = usage(quantity);
            usage.dimension = dimension;
            usage.event_time = at(micros);
            usage.count_from_time = from.map(at);
            let record = Record::new(EventId::new(), usage).unwrap();
            prop_assert_eq!(decode(encode(seq, &record).as_bytes()), Some((seq, record)));
        }

        #[test]
        fn a_line_that_is_cut_or_changed_is_no_record(cut in 0_usize..140, flip in 0_usize..140, bit in 0_u8..8) {
            let record = Record::new(EventId::new(), usage(12)).unwrap();
            let line = encode(7, &record).into_bytes();
            prop_assert_eq!(decode(&line[..cut.min(line.len() - 1)]), None);
            let mut changed = line.clone();
            let place = flip % line.len();
            changed[place] ^= 1 << bit;
            // Hexadecimal digits of either case are the same checksum.
            let same = String::from_utf8_lossy(&changed[..8]).eq_ignore_ascii_case(&String::from_utf8_lossy(&line[..8]));
            prop_assert!(decode(&changed).is_none() || (place < 8 && same));
        }
    }
}
