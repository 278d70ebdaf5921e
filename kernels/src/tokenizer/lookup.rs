//! From a token's bytes to its id: sorted ids, entered by the first two bytes.
//!
//! Sorting instead of hashing, because a vocabulary comes from a stranger who could have every hash collide.

use super::pieces::Pieces;

pub(super) struct Lookup {
    /// The first eight bytes of tokens and their ids, in the order of all their bytes. Most comparisons
    /// are decided by those eight, which lie side by side.
    sorted: Vec<(u64, u32)>,
    /// Where tokens with these first two bytes begin in `sorted`; one more at the end.
    starts: Vec<u32>,
}

impl Lookup {
    /// Of tokens with the same bytes the last id counts, as in llama.cpp.
    pub(super) fn new(pieces: &Pieces, ids: impl Iterator<Item = u32>) -> Self {
        let entry = |id: u32| (head(pieces.bytes(id)), id);
        let mut sorted: Vec<(u64, u32)> = ids
            .filter(|id| !pieces.bytes(*id).is_empty())
            .map(entry)
            .collect();
        sorted.sort_unstable_by(|left, right| {
            let rest = || pieces.bytes(left.1).cmp(pieces.bytes(right.1));
            left.0
                .cmp(&right.0)
                .then_with(rest)
                .then(left.1.cmp(&right.1))
        });
        let mut starts = vec![0; BUCKETS + 1];
        for (head, _) in &sorted {
            starts[bucket(*head) + 1] += 1;
        }
        for at in 0..BUCKETS {
            starts[at + 1] += starts[at];
        }
        Self { sorted, starts }
    }

    pub(super) fn find(&self, pieces: &Pieces, bytes: &[u8]) -> Option<u32> {
        if bytes.is_empty() {
            return None;
        }
        let head = head(bytes);
        let bucket = bucket(head);
        let entries = &self.sorted[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let after = entries.partition_point(|entry| {
            entry.0 < head || (entry.0 == head && pieces.bytes(entry.1) <= bytes)
        });
        let (_, id) = *entries.get(after.checked_sub(1)?)?;
        (pieces.bytes(id) == bytes).then_some(id)
    }
}

/// The first eight bytes, filled up with zeros: their order agrees with that of the bytes.
fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = bytes.len().min(8);
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

fn bucket(head: u64) -> usize {
    (head >> 48) as usize
}

const BUCKETS: usize = 1 << 16;
