//! How fast an engine reads prompts and draws tokens, as its own steps show.
//!
//! A step that reads no prompt draws one token for each sequence: what it took is what a token takes. A step
//! that reads prompts as well takes longer by them: the rest of it is theirs. The latest steps count most, and
//! an engine that has done too little to say anything says 0.

/// What was measured of the last steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    read: Meter,
    drawn: Meter,
}

impl Rates {
    /// A step that evaluated `read` tokens of prompts and drew a token for `drawn` other sequences took so long.
    pub(super) fn took(&mut self, read: u32, drawn: u32, ms: u64) {
        if read == 0 {
            return self.drawn.add(u64::from(drawn.min(1)), ms);
        }
        let beside = match drawn {
            0 => 0,
            _ => self.drawn.one_takes_ms().min(ms / 2),
        };
        self.read.add(read.into(), ms - beside);
    }

    /// Tokens of prompts a second, in thousandths; 0 if that is not known.
    pub(super) fn prefill(&self) -> u32 {
        self.read.rate()
    }

    /// Tokens of one sequence a second, in thousandths; 0 if that is not known.
    pub(super) fn decode(&self) -> u32 {
        self.drawn.rate()
    }
}

/// Tokens, in thousandths, and the time they took.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    tokens: u64,
    ms: u64,
}

impl Meter {
    fn add(&mut self, tokens: u64, ms: u64) {
        self.tokens = self.tokens.saturating_add(tokens.saturating_mul(1000));
        self.ms = self.ms.saturating_add(ms);
        // Old steps fade by halves, so that tokens and time keep their proportion.
        while self.ms > MEMORY_MS {
            self.tokens /= 2;
            self.ms /= 2;
        }
    }

    fn one_takes_ms(&self) -> u64 {
        self.ms.saturating_mul(1000) / self.tokens.max(1)
    }

    fn rate(&self) -> u32 {
        if self.ms < MEASURED_MS_MIN {
            return 0;
        }
        let rate = self.tokens.saturating_mul(1000) / self.ms;
        // What was measured is told apart from what was not, however slow it is.
        u32::try_from(rate.max(1)).unwrap_or(u32::MAX)
    }
}

/// Time that is remembered, about: some steps of a slow machine, and half a minute of a busy one ago counts for
/// little.
const MEMORY_MS: u64 = 16_000;
/// Below this the clock, which counts milliseconds, says too little.
const MEASURED_MS_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_before_it_was_measured() {
        let mut rates = Rates::default();
        assert_eq!((rates.prefill(), rates.decode()), (0, 0));
        rates.took(0, 4, 19);
        rates.took(100, 0, 19);
        assert_eq!((rates.prefill(), rates.decode()), (0, 0));
        rates.took(0, 4, 21);
        assert_eq!(rates.decode(), 50_000, "one of four sequences, 20 ms each");
    }

    #[test]
    fn what_a_step_draws_beside_a_prompt_is_not_the_prompts_time() {
        let mut rates = Rates::default();
        (0..10).for_each(|_| rates.took(0, 1, 10));
        (0..10).for_each(|_| rates.took(100, 1, 110));
        assert_eq!((rates.prefill(), rates.decode()), (1_000_000, 100_000));
    }

    #[test]
    fn the_latest_steps_count_most_and_no_step_is_too_long() {
        let mut rates = Rates::default();
        (0..1_000).for_each(|_| rates.took(0, 1, 10));
        (0..1_000).for_each(|_| rates.took(0, 1, 100));
        assert!((10_000..10_100).contains(&rates.decode()), "{rates:?}");
        rates.took(u32::MAX, u32::MAX, u64::MAX);
        rates.took(0, 1, u64::MAX);
        assert_eq!(rates.decode(), 1, "slow, and not unknown");
    }
}
