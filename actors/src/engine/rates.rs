//! How fast an engine reads prompts and draws tokens, as its own steps show.
//!
//! A step that reads no prompt draws a token for each sequence, and more where drafts were right: what it took is
//! what those take. A step that reads prompts as well takes longer by them: the rest of it is theirs. The latest
//! steps count most, and an engine that has done too little to say anything says 0.

/// What was measured of the last steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    read: Meter,
    /// Tokens of one sequence.
    drawn: Meter,
    /// Steps that drew only.
    steps: Meter,
}

/// What a step was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stepped {
    /// Tokens of prompts that it read.
    pub(super) read: u32,
    /// Sequences that were past their prompts.
    pub(super) sequences: u32,
    /// Drafts of theirs.
    pub(super) drafts: u32,
    /// Tokens that were drawn for them.
    pub(super) drawn: u32,
}

impl Rates {
    /// A step took so long.
    pub(super) fn took(&mut self, step: Stepped, ms: u64) {
        if step.read == 0 {
            let drawn = 1000 * u64::from(step.drawn) / u64::from(step.sequences.max(1));
            self.drawn.add(drawn, ms);
            self.steps.add(1000, ms);
            return;
        }
        let beside = match step.sequences {
            0 => 0,
            _ => self.steps.one_takes_ms().min(ms / 2),
        };
        self.read.add(1000 * u64::from(step.read), ms - beside);
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
    fn add(&mut self, thousandths: u64, ms: u64) {
        self.tokens = self.tokens.saturating_add(thousandths);
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

    fn step(read: u32, sequences: u32) -> Stepped {
        Stepped {
            read,
            sequences,
            drafts: 0,
            drawn: sequences,
        }
    }

    #[test]
    fn nothing_is_claimed_before_it_was_measured() {
        let mut rates = Rates::default();
        assert_eq!((rates.prefill(), rates.decode()), (0, 0));
        rates.took(step(0, 4), 19);
        rates.took(step(100, 0), 19);
        assert_eq!((rates.prefill(), rates.decode()), (0, 0));
        rates.took(step(0, 4), 21);
        assert_eq!(rates.decode(), 50_000, "one of four sequences, 20 ms each");
    }

    #[test]
    fn what_a_step_draws_beside_a_prompt_is_not_the_prompts_time() {
        let mut rates = Rates::default();
        (0..10).for_each(|_| rates.took(step(0, 1), 10));
        (0..10).for_each(|_| rates.took(step(100, 1), 110));
        assert_eq!((rates.prefill(), rates.decode()), (1_000_000, 100_000));
    }

    #[test]
    fn what_drafts_bring_is_a_sequences_pace_and_not_a_steps() {
        let mut rates = Rates::default();
        let drafted = Stepped {
            drafts: 8,
            drawn: 6,
            ..step(0, 2)
        };
        (0..10).for_each(|_| rates.took(drafted, 10));
        assert_eq!(rates.decode(), 300_000, "three for each, 10 ms each time");
        (0..10).for_each(|_| rates.took(step(100, 2), 110));
        assert_eq!(rates.prefill(), 1_000_000);
    }

    #[test]
    fn the_latest_steps_count_most_and_no_step_is_too_long() {
        let mut rates = Rates::default();
        (0..1_000).for_each(|_| rates.took(step(0, 1), 10));
        (0..1_000).for_each(|_| rates.took(step(0, 1), 100));
        assert!((10_000..10_100).contains(&rates.decode()), "{rates:?}");
        rates.took(step(u32::MAX, u32::MAX), u64::MAX);
        rates.took(step(0, 1), u64::MAX);
        assert_eq!(rates.decode(), 1, "slow, and not unknown");
    }
}
