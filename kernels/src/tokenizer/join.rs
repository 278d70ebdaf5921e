//! Joining neighbours, best pair first, in n log n.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::lookup::Lookup;
use super::merges::Merges;
use super::pieces::Pieces;

/// Joins neighbours in the order of their merges' ranks; of equal ranks the leftmost first.
pub(super) fn join_by_rank(parts: &mut Vec<u32>, merges: &Merges) {
    if parts.len() > SHORT {
        return join_by_rank_long(parts, merges);
    }
    // Most words are short, and looking at all pairs again beats keeping a queue of them.
    loop {
        let mut best: Option<(u32, usize, u32)> = None;
        for at in 1..parts.len() {
            if let Some((rank, whole)) = merges.find(parts[at - 1], parts[at])
                && best.is_none_or(|best| rank < best.0)
            {
                best = Some((rank, at, whole));
            }
        }
        let Some((_, at, whole)) = best else { return };
        parts[at - 1] = whole;
        parts.remove(at);
    }
}

fn join_by_rank_long(parts: &mut Vec<u32>, merges: &Merges) {
    let mut chain = Chain::new(parts.len());
    let mut queue = BinaryHeap::new();
    let offer = |queue: &mut BinaryHeap<_>, parts: &[u32], left: usize, right: usize| {
        let pair = (parts[left], parts[right]);
        if let Some((rank, whole)) = merges.find(pair.0, pair.1) {
            queue.push(Reverse((rank, left as u32, right as u32, pair, whole)));
        }
    };
    for right in 1..parts.len() {
        offer(&mut queue, parts, right - 1, right);
    }
    while let Some(Reverse((_, left, right, pair, whole))) = queue.pop() {
        let (left, right) = (left as usize, right as usize);
        // Either side may have been joined to something else since.
        if chain.next(left) != Some(right) || (parts[left], parts[right]) != pair {
            continue;
        }
        parts[left] = whole;
        chain.join(left, right);
        if let Some(before) = chain.before(left) {
            offer(&mut queue, parts, before, left);
        }
        if let Some(after) = chain.next(left) {
            offer(&mut queue, parts, left, after);
        }
    }
    *parts = chain.heads().map(|at| parts[at]).collect();
}

/// Joins neighbours in the order of their tokens' scores, highest first; of equals the leftmost first.
pub(super) fn join_by_score<'t>(
    pieces: &Pieces,
    lookup: &Lookup,
    scores: &[f32],
    text: &'t str,
) -> Vec<&'t str> {
    let starts: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).collect();
    let mut ends: Vec<u32> = starts.iter().skip(1).copied().collect();
    ends.push(text.len() as u32);
    let mut chain = Chain::new(starts.len());
    let mut queue = BinaryHeap::new();
    let offer = |queue: &mut BinaryHeap<_>, ends: &[u32], left: usize, right: usize| {
        let joined = &text.as_bytes()[starts[left] as usize..ends[right] as usize];
        if let Some(id) = lookup.find(pieces, joined) {
            let score = scores.get(id as usize).copied().unwrap_or(0.0);
            queue.push((
                Score(score),
                Reverse(left as u32),
                right as u32,
                ends[right],
            ));
        }
    };
    for right in 1..starts.len() {
        offer(&mut queue, &ends, right - 1, right);
    }
    while let Some((_, Reverse(left), right, end)) = queue.pop() {
        let (left, right) = (left as usize, right as usize);
        // The left side can only have grown, and then its neighbour is another.
        if chain.next(left) != Some(right) || ends[right] != end {
            continue;
        }
        ends[left] = end;
        chain.join(left, right);
        if let Some(before) = chain.before(left) {
            offer(&mut queue, &ends, before, left);
        }
        if let Some(after) = chain.next(left) {
            offer(&mut queue, &ends, left, after);
        }
    }
    chain
        .heads()
        .map(|at| &text[starts[at] as usize..ends[at] as usize])
        .collect()
}

/// Scores are never NaN: the linter has looked.
#[derive(Clone, Copy, PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Parts of a text and their neighbours, as parts are joined to the one on their left.
struct Chain {
    next: Vec<u32>,
    before: Vec<u32>,
}

impl Chain {
    fn new(count: usize) -> Self {
        // Texts are below 4 MiB, so indices fit.
        let count = count as u32;
        let next = (1..=count)
            .map(|at| if at == count { NONE } else { at })
            .collect();
        let before = (0..count)
            .map(|at| if at == 0 { NONE } else { at - 1 })
            .collect();
        Self { next, before }
    }

    fn next(&self, at: usize) -> Option<usize> {
        Some(self.next[at])
            .filter(|next| *next != NONE)
            .map(|next| next as usize)
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at])
            .filter(|before| *before != NONE)
            .map(|before| before as usize)
    }

    /// Takes `right` out, for it is now part of `left`, its neighbour.
    fn join(&mut self, left: usize, right: usize) {
        self.next[left] = self.next[right];
        self.next[right] = NONE;
        if let Some(after) = self.next(left) {
            self.before[after] = left as u32;
        }
    }

    /// The parts that are left, in order.
    fn heads(&self) -> impl Iterator<Item = usize> {
        let first = (!self.next.is_empty()).then_some(0);
        std::iter::successors(first, |at| self.next(*at))
    }
}

/// No token, no neighbour. Vocabularies and texts are smaller.
pub(super) const NONE: u32 = u32::MAX;
/// Up to so many bytes, trying all pairs again is faster than a queue.
const SHORT: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_joining_agree() {
        // Five letters; merges in an order that has no order.
        let mut merges = Vec::new();
        let mut word = 12_345_u64;
        let mut roll = |end: u64| {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (word >> 33) % end
        };
        for rank in 0..60 {
            merges.push((roll(30) as u32, roll(30) as u32, rank, 5 + roll(25) as u32));
        }
        let merges = Merges::new(merges, 30);
        for _ in 0..2000 {
            let length = roll(SHORT as u64 + 1) as usize;
            let mut short: Vec<u32> = (0..length).map(|_| roll(5) as u32).collect();
            let mut long = short.clone();
            join_by_rank(&mut short, &merges);
            join_by_rank_long(&mut long, &merges);
            assert_eq!(short, long);
        }
    }
}
