//! The one source of chance in a simulated world: everything random about a run follows from its seed.
//!
//! xoshiro256** filled by splitmix64, written out here so that a seed means the same run for as long as this
//! file is unchanged, whatever any library does. It is not for secrets.

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Dice {
        let mut mixer = seed;
        let mut next = || {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(mixer)
        };
        Dice {
            state: [next(), next(), next(), next()],
        }
    }

    /// A stream of its own for one purpose, so that drawing more for one does not shift another.
    pub fn fork(&mut self, purpose: &str) -> Dice {
        let tag = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Dice::new(self.next() ^ tag)
    }

    /// 64 bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "a stream of chance has no end and is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `limit`, which is not 0. The bias of the multiplication is below 2^-32 for our limits.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing is below 0");
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range");
        low + self.below(high - low + 1)
    }

    /// From 0 up to but not including 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True once in `1 / probability` times.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// An exponentially distributed number with this mean, at most twenty times it. The logarithm is a table
    /// of halvings and not a function of the platform, so that a seed means the same run everywhere.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // -log2 of a uniform number is the count of leading zeros plus a fraction that is close to linear.
        let bits = self.next() | 1;
        let zeros = bits.leading_zeros();
        let mantissa = ((bits << zeros) >> 32) as f64 / (1u64 << 32) as f64;
        let halvings = f64::from(zeros) + 2.0 * (1.0 - mantissa);
        let scaled = halvings * std::f64::consts::LN_2 * mean as f64;
        (scaled as u64).min(mean.saturating_mul(20))
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// As many bytes as wanted.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// splitmix64's finisher: every bit of the result depends on every bit of `word`.
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_gives_another() {
        let take = |seed| {
            let mut dice = Dice::new(seed);
            (0..64).map(|_| dice.next()).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn the_first_numbers_of_a_seed_never_change() {
        let mut dice = Dice::new(0);
        assert_eq!(
            [dice.next(), dice.next()],
            [0x99ec_5f36_cb75_f2b4, 0xbf6e_1f78_4956_452a]
        );
    }

    #[test]
    fn an_exponential_number_has_about_its_mean() {
        let mut dice = Dice::new(3);
        let sum: u64 = (0..100_000).map(|_| dice.exponential(1_000)).sum();
        let mean = sum / 100_000;
        assert!((900..1_150).contains(&mean), "{mean}");
    }

    #[test]
    fn every_number_of_a_range_comes_up() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[dice.between(0, 5) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
    }
}
