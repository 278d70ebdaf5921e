//! How many tokens of prompts one step takes, so that neither those who read nor those who draw starve.
//!
//! Every sequence that draws takes part in every step, so the time between two of its tokens is one step, and what
//! comes between two steps. A step with prompts takes longer, but reads more of them a second: the first
//! [`Cost`] of a step is there however few tokens it has. So the chunk of a step is what fits, as steps were
//! measured, into
//! - P1 [`DRAWING_MS`] for the whole step where something draws;
//! - P2 [`READING_MS`] where nothing does: nobody waits for a token then, but cancels and probes are heard between
//!   two steps.
//! - P3 But prompts get a quarter of a step's time, and [`CHUNK_MIN`] tokens, however long the draws alone take,
//!   and a token for each prompt that is being read (`Batch::plan`).
//!
//! With `D` the time of a step without prompts and `t` that of a token of a prompt, this bounds
//! - the time between two tokens of a sequence that keeps its pages: one step, which is
//!   `max(DRAWING_MS, 4/3 × D, D + CHUNK_MIN × t)`, and [`DRAWING_MS`] or one step more while attempts are started
//!   (`serve`);
//! - the time until the first chunk of a prompt that has its pages: the rest of the step that runs, and the same as
//!   above; the last is read after `tokens / max(share, 1)` steps more, the share being the chunk divided by the
//!   prompts that are being read.
//!
//! Both hold as far as the cost of the next step is judged rightly: one that was not foreseen can take twice as
//! long, since a chunk is at most twice as long as the last ones. The tests hold a whole desk to that.

mod cost;

use cost::Cost;

/// The size of the next step, learned from the last ones.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The longest of the last steps, in milliseconds.
    longest_ms: u64,
    cost: Cost,
    /// The most tokens of prompts in one of the last steps with any.
    reach: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            longest_ms: 0,
            cost: Cost::default(),
            reach: CHUNK_FIRST / 2,
        }
    }
}

impl Pace {
    /// Tokens of prompts in a step in which so many rows draw; never 0.
    pub(super) fn chunk(&self, rows: u32) -> u32 {
        let (draws_us, target_ms) = match rows {
            0 => (self.cost.us(0, 0), READING_MS),
            _ => (self.cost.us(rows, 0), DRAWING_MS),
        };
        let left_us = (target_ms * 1_000).saturating_sub(draws_us);
        let fitting = self.cost.tokens(left_us.max(draws_us / 3));
        // What was never tried is not far from what was.
        let fitting = fitting.min(self.reach * 2);
        fitting.clamp(CHUNK_MIN, BUDGET_MAX)
    }

    /// The longest of the last steps, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        self.longest_ms
    }

    /// A step of so many rows that draw and so many tokens of prompts took so long.
    pub(super) fn took(&mut self, rows: u32, tokens: u32, ms: u64) {
        // One long step counts for some hundred short ones: whoever waits for a word reckons with the longest.
        self.longest_ms = ms.max(self.longest_ms - self.longest_ms.div_ceil(64));
        self.cost.took(rows, tokens, ms);
        if tokens > 0 {
            self.reach = tokens.max(self.reach - self.reach / 8).min(BUDGET_MAX);
        }
    }
}

/// Milliseconds of a step in which something draws: ten words a second are more than anybody reads.
pub(super) const DRAWING_MS: u64 = 100;
/// Milliseconds of a step that only reads: what a cancel may wait.
const READING_MS: u64 = 250;
/// Tokens of the first chunk, before anything is known.
const CHUNK_FIRST: u32 = 128;
/// Below this a chunk is all overhead.
const CHUNK_MIN: u32 = 16;
/// Above this no kernel gets faster, and the workspace grows.
pub const BUDGET_MAX: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace that has seen 100 steps of these rows, each with the chunk it asked for and each without.
    fn learned(rows: u32, ms: impl Fn(u32, u32) -> u64) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..100 {
            let chunk = pace.chunk(rows);
            pace.took(rows, chunk, ms(rows, chunk));
            if rows > 0 {
                pace.took(rows, 0, ms(rows, 0));
            }
        }
        pace
    }

    #[test]
    fn a_chunk_is_what_fits_beside_the_draws_and_no_less_than_its_share() {
        let cost = |fixed: u64, row: u64, token: u64| {
            move |rows: u32, tokens: u32| fixed + row * u64::from(rows) + token * u64::from(tokens)
        };
        let cases = [
            ("what is left of the target", 4, cost(10, 5, 1), 70..=72),
            ("nobody draws", 0, cost(10, 5, 1), 238..=244),
            ("a fast machine", 4, cost(5, 0, 0), 256..=256),
            ("a slow one", 1, cost(500, 0, 1_000), 16..=16),
            ("draws that take all", 30, cost(30, 9, 1), 95..=102),
        ];
        for (case, rows, cost, expected) in cases {
            let pace = learned(rows, cost);
            let chunk = pace.chunk(rows);
            assert!(expected.contains(&chunk), "{case}: {chunk}, {pace:?}");
        }
    }

    #[test]
    fn nothing_is_far_from_what_was_tried() {
        let mut pace = Pace::default();
        assert_eq!((pace.chunk(0), pace.chunk(1)), (CHUNK_FIRST, CHUNK_FIRST));
        (0..100).for_each(|_| pace.took(1, 20, 1_000));
        (0..100).for_each(|_| pace.took(1, 20, 0));
        assert!(pace.chunk(1) <= 40, "{pace:?}");
    }

    #[test]
    fn the_longest_step_is_remembered_for_a_while() {
        let mut pace = Pace::default();
        pace.took(1, 0, 640);
        (0..10).for_each(|_| pace.took(1, 0, 1));
        assert!((500..640).contains(&pace.longest_ms()), "{pace:?}");
        (0..500).for_each(|_| pace.took(1, 0, 1));
        assert_eq!(pace.longest_ms(), 1);
    }
}
