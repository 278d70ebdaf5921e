//! How often is too often: the decision whether a fallen child is started again.

use troop_actors::contract::Time;

/// The restarts of one supervisor within the last window.
#[derive(Debug, Default)]
pub struct Intensity {
    restarts: Vec<Time>,
}

/// What to do about a child that has fallen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again.
    Restart,
    /// It falls faster than starting again can help: give up, and let the one above decide.
    GiveUp,
}

impl Intensity {
    /// A child has fallen at `now`.
    pub fn fallen(&mut self, now: Time) -> Verdict {
        self.restarts.retain(|at| now.since_ms(*at) < WINDOW_MS);
        if self.restarts.len() >= RESTARTS_MAX {
            return Verdict::GiveUp;
        }
        self.restarts.push(now);
        Verdict::Restart
    }
}

/// Restarts within the window, at most; the numbers are those of Elixir's supervisors.
pub const RESTARTS_MAX: usize = 3;
/// The window.
pub const WINDOW_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_fall_in_five_seconds_is_one_too_many() {
        let cases: &[(&[u64], &[bool])] = &[
            (&[0, 10, 20, 30], &[true, true, true, false]),
            (&[0, 2000, 4000, 5000], &[true, true, true, true]),
            (&[0, 2000, 4000, 4999], &[true, true, true, false]),
            (
                &[0, 6000, 12000, 18000, 24000],
                &[true, true, true, true, true],
            ),
        ];
        for (falls, expected) in cases {
            let mut intensity = Intensity::default();
            let verdicts = falls
                .iter()
                .map(|at| intensity.fallen(Time(*at)) == Verdict::Restart);
            assert_eq!(verdicts.collect::<Vec<_>>(), *expected, "{falls:?}");
        }
    }
}
