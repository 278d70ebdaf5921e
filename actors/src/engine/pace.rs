//! How many tokens one step may take, so that no step takes long.
//!
//! Between steps an engine hears cancels and probes and its streams go on, so a step should be short; but a
//! large step evaluates more tokens a second. The budget follows what was measured to meet [`STEP_MS`].

/// The size of the next step, learned from the last ones.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// The longest of the last steps, in milliseconds.
    longest_ms: u64,
    budget: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            longest_ms: 0,
            budget: BUDGET_FIRST,
        }
    }
}

impl Pace {
    /// Tokens of the next step, about.
    pub(super) fn budget(&self) -> u32 {
        self.budget
    }

    /// The longest of the last steps, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        self.longest_ms
    }

    /// A step of so many tokens took so long.
    pub(super) fn took(&mut self, tokens: u32, ms: u64) {
        // One long step counts for some hundred short ones: whoever waits for a word reckons with the longest.
        self.longest_ms = ms.max(self.longest_ms - self.longest_ms.div_ceil(64));
        // A small step says nothing about a large one: decodes are bound by memory, prefills by arithmetic.
        if tokens < self.budget / 2 {
            return;
        }
        let fitting = u64::from(tokens) * STEP_MS / ms.max(1);
        let fitting = fitting.clamp((self.budget / 2).into(), (self.budget * 2).into()) as u32;
        self.budget = fitting.clamp(BUDGET_MIN, BUDGET_MAX);
    }
}

/// Milliseconds a step should take: a stream's gap between two tokens stays below what a reader notices.
const STEP_MS: u64 = 250;
/// The budget before anything is known.
const BUDGET_FIRST: u32 = 128;
/// Below this a step is all overhead.
const BUDGET_MIN: u32 = 16;
/// Above this no kernel gets faster, and the workspace grows.
pub const BUDGET_MAX: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_follows_the_machine_and_stays_within_its_limits() {
        let mut slow = Pace::default();
        let mut fast = Pace::default();
        for _ in 0..10 {
            let budget = slow.budget();
            slow.took(budget, u64::from(budget) * 100);
            let budget = fast.budget();
            fast.took(budget, 1);
        }
        assert_eq!((slow.budget(), fast.budget()), (BUDGET_MIN, BUDGET_MAX));
        let mut steady = Pace::default();
        steady.took(3, 1000);
        assert_eq!(
            steady.budget(),
            BUDGET_FIRST,
            "a small step teaches nothing"
        );
    }
}
