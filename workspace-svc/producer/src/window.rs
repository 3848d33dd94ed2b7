//! The batches that are under way: sent, and not acked yet.

use std::collections::VecDeque;

use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::workspace::v1::{UsageRecord, UsageServiceIngestRequest, UsageServiceIngestResponse};

use crate::delivery::{Batch, Receipt, Refusal};

/// Batches in the order in which they are acked. Some of the first are sent on the present stream.
pub struct Window<T> {
    batches: VecDeque<UnderWay<T>>,
    sent: usize,
    size: usize,
    last_seq: i64,
}

struct UnderWay<T> {
    seq: i64,
    batch: Batch<T>,
    /// Part of a batch that was refused as a whole: it goes alone, so that it is known who is refused next.
    is_suspect: bool,
}

/// An answer that does not fit what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service has broken the contract: {0}")]
pub struct Nonsense(&'static str);

impl<T> Window<T> {
    /// An empty one, with room for so many.
    pub const fn new(size: usize) -> Self {
        Self { batches: VecDeque::new(), sent: 0, size, last_seq: 0 }
    }

    /// Everything is acked.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Another batch may be under way.
    pub fn has_room(&self) -> bool {
        self.batches.len() < self.size
    }

    /// Takes a batch, which is sent when its turn comes.
    pub fn push(&mut self, batch: Batch<T>) {
        let seq = self.next_seq();
        self.batches.push_back(UnderWay { seq, batch, is_suspect: false });
    }

    const fn next_seq(&mut self) -> i64 {
        self.last_seq = self.last_seq.wrapping_add(1);
        self.last_seq
    }

    /// A new stream knows of nothing: everything is sent again, as it was.
    pub const fn begin_stream(&mut self) {
        self.sent = 0;
    }

    /// The next message to send, if one may be sent now.
    pub fn next_message(&mut self) -> Option<UsageServiceIngestRequest> {
        let limit = if self.batches.front().is_some_and(|first| first.is_suspect) { 1 } else { self.size };
        let next = self.batches.get(self.sent).filter(|_| self.sent < limit)?;
        self.sent = self.sent.saturating_add(1);
        let records: Vec<UsageRecord> = next.batch.items.iter().map(|(_, record)| record.clone()).collect();
        Some(UsageServiceIngestRequest { batch_seq: next.seq, records })
    }

    /// Takes an ack: it is of the first batch, and speaks of each of its records once.
    pub fn acked(&mut self, ack: UsageServiceIngestResponse) -> Result<Receipt<T>, Nonsense> {
        let first = self.batches.front().filter(|first| first.seq == ack.batch_seq && self.sent > 0);
        let first = first.ok_or(Nonsense("an ack of a batch that is not the next"))?;
        let size = first.batch.items.len();
        let mut refusals = Vec::with_capacity(ack.refusals.len());
        for refusal in ack.refusals {
            let reason = refusal.reason();
            let index = usize::try_from(refusal.index).ok().filter(|index| *index < size);
            let index = index.ok_or(Nonsense("a refusal of a record that is not there"))?;
            refusals.push(Refusal { index, reason, message: refusal.message });
        }
        let spoken_of = count(ack.accepted_count) + count(ack.duplicate_count) + count(refusals.len());
        if spoken_of != count(size) {
            return Err(Nonsense("an ack of more or fewer records than were sent"));
        }
        let first = self.batches.pop_front().ok_or(Nonsense("an ack without a batch"))?;
        self.sent = self.sent.saturating_sub(1);
        Ok(Receipt {
            items: first.batch.items,
            accepted_count: count(ack.accepted_count),
            duplicate_count: count(ack.duplicate_count),
            late_count: count(ack.late_count),
            refusals,
        })
    }

    /// The first batch was refused as a whole, which never changes. Two halves take its place; a single record is refused by itself.
    pub fn refused(&mut self, message: &str) -> Option<Receipt<T>> {
        let mut first = self.batches.pop_front()?;
        self.sent = 0;
        if first.batch.items.len() > 1 {
            let second = first.batch.items.split_off(first.batch.items.len().div_ceil(2));
            let (first_seq, second_seq) = (self.next_seq(), self.next_seq());
            let half = |seq, items| UnderWay { seq, batch: Batch { items }, is_suspect: true };
            self.batches.push_front(half(second_seq, second));
            self.batches.push_front(half(first_seq, first.batch.items));
            return None;
        }
        let refusal = Refusal { index: 0, reason: ErrorReason::FieldInvalid, message: message.to_owned() };
        let refusals = if first.batch.items.is_empty() { Vec::new() } else { vec![refusal] };
        Some(Receipt {
            items: first.batch.items,
            accepted_count: 0,
            duplicate_count: 0,
            late_count: 0,
            refusals,
        })
    }
}

/// A number of records; a negative one fits nothing.
fn count(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(u64::from(u32::MAX))
}
