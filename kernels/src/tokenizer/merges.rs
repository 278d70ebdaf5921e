//! Which pairs of tokens join, in what order, and to what.

pub(super) struct Merges {
    /// Right side, rank and result, sorted by (left side, right side).
    pairs: Vec<(u32, u32, u32)>,
    /// Where the pairs of each left side begin; one more at the end.
    starts: Vec<u32>,
}

impl Merges {
    /// From (left, right, rank, whole). Of equal pairs the lowest rank counts. Ids are below `count`.
    pub(super) fn new(mut merges: Vec<(u32, u32, u32, u32)>, count: u32) -> Self {
        merges.sort_unstable();
        merges.dedup_by_key(|merge| (merge.0, merge.1));
        let mut starts = vec![0; count as usize + 1];
        for merge in &merges {
            starts[merge.0 as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self {
            pairs: merges
                .into_iter()
                .map(|merge| (merge.1, merge.2, merge.3))
                .collect(),
            starts,
        }
    }

    /// The rank of a pair and the token it makes.
    pub(super) fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let start = *self.starts.get(left as usize)? as usize;
        let end = *self.starts.get(left as usize + 1)? as usize;
        let pairs = &self.pairs[start..end];
        let at = pairs.binary_search_by_key(&right, |pair| pair.0).ok()?;
        Some((pairs[at].1, pairs[at].2))
    }
}
