//! What a step costs, as the last ones show: a part that is always there, one for each row that draws, and one
//! for each token of a prompt.
//!
//! ```text
//! cost = fixed + rows × row + tokens × token        the three numbers with the least squared error
//! ```
//!
//! Old steps fade. Those with prompts and those without fade apart, so that an hour of decodes does not wipe out
//! what is known of prompts. Where the steps were too much alike to tell the parts from one another, each gets
//! about an even share, and the sum is right where it was measured. No part is negative. A step that took far longer
//! than expected was held up by somebody else, and counts as a few times as long as expected and no more.
//!
//! That a token costs more the deeper it lies is not in the sum: the numbers are those of the depths of late.

/// What was measured of steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Of steps that only draw.
    quiet: Sums,
    /// Of steps that read prompts.
    busy: Sums,
    /// Nanoseconds: fixed, of a row, of a token.
    parts: [i128; 3],
}

/// Sums over steps of what they had, `(1, rows, tokens)`: its products with itself and with the time it took.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    products: [[i128; 3]; 3],
    times: [i128; 3],
}

impl Cost {
    /// A step with so many rows and tokens took so long.
    pub(super) fn took(&mut self, rows: u32, tokens: u32, ms: u64) {
        let mut us = i128::from(ms.min(STEP_MS_MAX)) * 1_000;
        let expected = i128::from(self.us(rows, tokens));
        if self.knows(tokens) {
            us = us.min(expected.max(1_000) * EXPECTED_TIMES_MAX);
        }
        let had = [1, rows.min(COUNT_MAX).into(), tokens.min(COUNT_MAX).into()];
        match tokens {
            0 => self.quiet.add(had, us),
            _ => self.busy.add(had, us),
        }
        self.parts = self.quiet.plus(self.busy).solve();
    }

    /// Whether steps with tokens, or those without, were ever measured.
    pub(super) fn knows(&self, tokens: u32) -> bool {
        match tokens {
            0 => self.quiet.times[0] > 0,
            _ => self.busy.times[0] > 0,
        }
    }

    /// Microseconds that a step with so many rows and tokens takes.
    pub(super) fn us(&self, rows: u32, tokens: u32) -> u64 {
        let [fixed, row, token] = self.parts;
        let ns = fixed + row * i128::from(rows) + token * i128::from(tokens);
        (ns / 1_000) as u64
    }

    /// Tokens that take so many microseconds, without what is fixed.
    pub(super) fn tokens(&self, us: u64) -> u32 {
        let tokens = i128::from(us) * 1_000 / self.parts[2].max(1);
        tokens.min(u32::MAX.into()) as u32
    }
}

impl Sums {
    fn add(&mut self, had: [i128; 3], us: i128) {
        for (row, left) in self.products.iter_mut().zip(had) {
            for (sum, right) in row.iter_mut().zip(had) {
                *sum += left * right * WEIGHT - *sum / STEPS;
            }
        }
        for (sum, left) in self.times.iter_mut().zip(had) {
            *sum += left * us * WEIGHT - *sum / STEPS;
        }
    }

    fn plus(mut self, other: Sums) -> Sums {
        for (row, more) in self.products.iter_mut().zip(other.products) {
            for (sum, more) in row.iter_mut().zip(more) {
                *sum += more;
            }
        }
        for (sum, more) in self.times.iter_mut().zip(other.times) {
            *sum += more;
        }
        self
    }

    /// The three parts, in nanoseconds.
    fn solve(mut self) -> [i128; 3] {
        for (index, row) in self.products.iter_mut().enumerate() {
            // A little more on the diagonal: there is always one answer, and alike things share evenly.
            row[index] += row[index] / EVEN + 1;
        }
        loop {
            let whole = determinant(self.products);
            let parts = [0, 1, 2].map(|index| {
                let mut replaced = self.products;
                (replaced.iter_mut().zip(self.times)).for_each(|(row, time)| row[index] = time);
                let part = determinant(replaced);
                match whole < 1 << 40 {
                    true => part * 1_000 / whole,
                    false => part / (whole / 1_000),
                }
            });
            // What would be negative is nothing, and the others are looked for without it.
            let Some(index) = (0..3)
                .filter(|index| parts[*index] < 0)
                .min_by_key(|index| parts[*index] * self.products[*index][0].max(1))
            else {
                return parts;
            };
            self.products[index] = [0; 3];
            self.products.iter_mut().for_each(|row| row[index] = 0);
            self.products[index][index] = 1;
            self.times[index] = 0;
        }
    }
}

/// A sum is at most `2 × WEIGHT × STEPS × COUNT_MAX²`, which is 2^34, and one with a time in it 2^53: three of them
/// multiplied stay below 2^121.
fn determinant([[a, b, c], [d, e, f], [g, h, i]]: [[i128; 3]; 3]) -> i128 {
    a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
}

/// Steps that count: a step's weight falls to a third over so many of its kind.
const STEPS: i128 = 32;
/// The weight of the last step, so that what fades is not rounded away at once.
const WEIGHT: i128 = 1 << 10;
/// Rows or tokens of a step beyond which they are not told apart.
const COUNT_MAX: u32 = 512;
/// The longest step that is told from longer ones: two minutes.
const STEP_MS_MAX: u64 = 1 << 17;
/// How many times as long as expected a step can have taken.
const EXPECTED_TIMES_MAX: i128 = 4;
/// One part in so many is given up for an even answer.
const EVEN: i128 = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(found: u64, expected: u64, percent: u64) -> bool {
        found.abs_diff(expected) * 100 <= expected * percent + 200_000
    }

    proptest! {
        #[test]
        fn the_parts_of_steps_that_differ_are_found_again(
            (fixed, row, token) in (0u64..50, 0u64..20, 0u64..10),
            steps in prop::collection::vec((0u32..32, 0u32..256), 100..200),
            (rows, tokens) in (0u32..32, 0u32..256),
        ) {
            let mut cost = Cost::default();
            let true_ms = |rows: u32, tokens: u32| {
                fixed + row * u64::from(rows) + token * u64::from(tokens)
            };
            for (rows, tokens) in steps {
                cost.took(rows, tokens, true_ms(rows, tokens));
            }
            let found = cost.us(rows, tokens);
            let expected = true_ms(rows, tokens) * 1_000;
            // What a part is given too much shows where only that part is asked for: next to nothing of a step.
            let slack = true_ms(32, 256) * 20;
            let right = found.abs_diff(expected) * 100 <= expected * 15 + slack * 100 + 200_000;
            prop_assert!(right, "{found} for {expected}: {cost:?}");
        }

        #[test]
        fn no_step_is_too_strange(
            steps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u64>()), 1..100),
        ) {
            let mut cost = Cost::default();
            for (rows, tokens, ms) in steps {
                cost.took(rows, tokens, ms);
                prop_assert!(cost.parts.iter().all(|part| *part >= 0), "{cost:?}");
                cost.tokens(cost.us(rows, tokens));
            }
        }
    }

    #[test]
    fn what_is_not_told_apart_is_right_where_it_was_measured() {
        let mut cost = Cost::default();
        (0..100).for_each(|_| cost.took(4, 100, 120));
        assert!(near(cost.us(4, 100), 120_000, 1), "{cost:?}");
        let part = cost.us(0, 0);
        assert!(
            (25_000..50_000).contains(&part),
            "about a third each: {cost:?}"
        );
    }

    #[test]
    fn one_step_that_was_held_up_counts_for_little_and_a_slower_machine_is_learned() {
        let mut cost = Cost::default();
        (0..100).for_each(|_| cost.took(4, 0, 10));
        cost.took(4, 0, 60_000);
        assert!(cost.us(4, 0) < 12_000, "{cost:?}");
        (0..200).for_each(|_| cost.took(4, 0, 1_000));
        assert!(near(cost.us(4, 0), 1_000_000, 2), "{cost:?}");
    }

    #[test]
    fn what_is_known_of_prompts_outlives_any_number_of_decodes() {
        let mut cost = Cost::default();
        for tokens in 1..100 {
            cost.took(0, tokens, 5 + 2 * u64::from(tokens));
        }
        (0..100_000).for_each(|_| cost.took(1, 0, 5));
        let more = cost.us(1, 50) - cost.us(1, 0);
        assert!(near(more, 100_000, 10), "{cost:?}");
    }
}
