//! What a step takes by how many sequences draw in it and how many drafts are beside them, and how many drafts
//! are worth that.
//!
//! A step that waits for memory takes a few more tokens for nothing, one that computes pays for each; which of
//! the two it is depends on the model, the machine and who else is there. So it is measured. What was not
//! measured lately is reckoned with at its least, which has it tried: more tokens take no less time than fewer,
//! and no more for each of them.

use super::super::pace::DRAWING_MS;
use std::collections::BTreeMap;

/// Times of steps that read no prompts.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Costs {
    /// By sequences, then by drafts.
    known: BTreeMap<(u32, u32), Cost>,
    steps: u64,
}

/// A time that was measured.
#[derive(Clone, Copy, Debug)]
struct Cost {
    ms: f32,
    /// How often, lately.
    count: u32,
    /// The latest of them.
    step: u64,
}

impl Costs {
    /// A step took so long in which so many sequences drew, with so many drafts.
    pub(in super::super) fn took(&mut self, sequences: u32, drafts: u32, ms: u64) {
        self.steps += 1;
        let ms = ms as f32;
        let new = Cost {
            ms,
            count: 0,
            step: self.steps,
        };
        let cost = self.known.entry((sequences, drafts)).or_insert(new);
        if self.steps - cost.step > STEPS_KNOWN {
            *cost = new;
        }
        // A step that was held up by something else says little, one that was quick says what can be.
        let share: f32 = if ms < cost.ms { 0.25 } else { 0.125 };
        let share = share.max(1.0 / (cost.count as f32 + 1.0));
        cost.ms += (ms.min(2.0 * cost.ms + 1.0) - cost.ms) * share;
        cost.count = (cost.count + 1).min(COUNT_SURE);
        cost.step = self.steps;
        if self.known.len() > KNOWN_MAX {
            let oldest = self.known.iter().min_by_key(|(_, cost)| cost.step);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| self.known.remove(&key));
        }
    }

    /// How many drafts each sequence gets, `most` in all, so that the tokens drawn in a second are expected to be
    /// the most, and nobody's next word comes at less than half its pace where it is slow as it is. `hopes` has the odds of each sequence's first, second and further draft.
    pub(in super::super) fn choose(&self, hopes: &[Vec<f32>], most: u32) -> Vec<u32> {
        let none = vec![0; hopes.len()];
        let sequences = hopes.len() as u32;
        let Some(alone_ms) = self.least_ms(sequences, 0) else {
            return none;
        };
        let (mut best, mut best_rate) = (none.clone(), WORTH * sequences as f32 / alone_ms);
        let longest_ms = (2.0 * alone_ms).max(DRAWING_MS as f32);
        let (mut counts, mut drawn) = (none, sequences as f32);
        for drafts in 1..=most {
            let next = |index: &usize| hopes[*index].get(counts[*index] as usize);
            // The likeliest draft of all that could be next; of equal ones the eldest sequence's.
            let likeliest = (0..hopes.len()).rev().max_by(|one, other| {
                let odds = |index| next(index).copied().unwrap_or_default();
                odds(one).total_cmp(&odds(other))
            });
            let Some((index, hope)) = likeliest.and_then(|index| Some((index, *next(&index)?)))
            else {
                break;
            };
            counts[index] += 1;
            drawn += hope;
            let ms = self.least_ms(sequences, drafts).unwrap_or(alone_ms);
            if drawn / ms > best_rate && ms <= longest_ms {
                (best, best_rate) = (counts.clone(), drawn / ms);
            }
        }
        best
    }

    /// What such a step takes at least, by what is known of those of as many sequences.
    fn least_ms(&self, sequences: u32, drafts: u32) -> Option<f32> {
        let all = self.known.range((sequences, 0)..=(sequences, u32::MAX));
        let sure = all
            .filter(|(_, cost)| cost.count == COUNT_SURE && self.steps - cost.step <= STEPS_KNOWN);
        let mut least: Option<f32> = None;
        for ((_, other), cost) in sure {
            // A clock of whole milliseconds may have seen nothing pass.
            let ms = cost.ms.max(MS_MIN);
            if *other == drafts {
                return Some(ms);
            }
            let rows = |drafts| (sequences + drafts) as f32;
            let ms = ms * (rows(drafts) / rows(*other)).min(1.0);
            least = Some(least.map_or(ms, |least| least.max(ms)));
        }
        least
    }
}

/// Steps after which a time is not known any more: who is here and how much it reads has changed.
const STEPS_KNOWN: u64 = 256;
/// Steps of a kind that make its time known.
const COUNT_SURE: u32 = 4;
/// Kinds of steps that are remembered.
const KNOWN_MAX: usize = 256;
/// By how much drafts must promise to be better before any are made.
const WORTH: f32 = 1.03;
/// What a step takes at least.
const MS_MIN: f32 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs of a machine on which a step of so many sequences and drafts takes `ms`.
    fn measured(sequences: u32, kinds: &[(u32, u64)]) -> Costs {
        let mut costs = Costs::default();
        for (drafts, ms) in kinds {
            (0..4).for_each(|_| costs.took(sequences, *drafts, *ms));
        }
        costs
    }

    #[test]
    fn drafts_are_made_where_they_are_expected_to_be_faster() {
        let sure = vec![vec![0.9, 0.8, 0.7, 0.6]];
        let unsure = vec![vec![0.3]];
        assert_eq!(
            Costs::default().choose(&sure, 4),
            [0],
            "first it is measured what a step takes without any"
        );
        let fresh = measured(1, &[(0, 10)]);
        assert_eq!(fresh.choose(&sure, 4), [4], "what is not known is tried");
        assert_eq!(fresh.choose(&sure, 2), [2]);
        assert_eq!(fresh.choose(&[vec![]], 4), [0]);
        assert_eq!(fresh.choose(&[], 4), [] as [u32; 0]);
        let cheap = measured(1, &[(0, 10), (1, 10), (4, 11)]);
        assert_eq!(
            (cheap.choose(&sure, 4), cheap.choose(&unsure, 4)),
            (vec![4], vec![1])
        );
        let dear = measured(1, &[(0, 10), (1, 14), (4, 50)]);
        assert_eq!(
            (dear.choose(&sure, 4), dear.choose(&unsure, 4)),
            (vec![1], vec![0])
        );
        let at_price = measured(1, &[(0, 10), (1, 20), (2, 30), (3, 40), (4, 50)]);
        assert_eq!(at_price.choose(&sure, 4), [0]);
        let slow = measured(1, &[(0, 200), (2, 300), (3, 450), (4, 480)]);
        assert_eq!(slow.choose(&sure, 4), [2], "steps would get too long");
    }

    #[test]
    fn the_likeliest_drafts_of_all_sequences_come_first() {
        let costs = measured(3, &[(0, 10), (1, 13), (2, 13), (3, 13)]);
        let hopes = vec![vec![0.5, 0.3], vec![0.9, 0.8, 0.2], vec![0.9]];
        assert_eq!(costs.choose(&hopes, 3), [0, 2, 1]);
        assert_eq!(
            costs.choose(&hopes, 1),
            [0, 0, 0],
            "one is not worth its time"
        );
    }

    #[test]
    fn what_was_measured_long_ago_is_tried_again_and_little_is_kept() {
        let sure = vec![vec![0.9, 0.8]];
        let mut costs = measured(1, &[(1, 20), (2, 30), (0, 10)]);
        assert_eq!(costs.choose(&sure, 2), [0]);
        (0..256).for_each(|_| costs.took(1, 0, 10));
        assert_eq!(costs.choose(&sure, 2), [2]);
        for sequences in 1..2_000 {
            costs.took(sequences, sequences % 17, 0);
        }
        assert!(costs.known.len() <= KNOWN_MAX);
        assert_eq!(
            measured(1, &[(0, 0)]).choose(&sure, 2),
            [2],
            "no time is taken"
        );
        assert_eq!(measured(1, &[(0, u64::MAX)]).choose(&sure, 2), [2]);
    }
}
