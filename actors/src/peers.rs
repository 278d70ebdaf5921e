//! Other nodes: when to try one again, and which of two connections to it stays.
//!
//! Both are decisions, so they are pure: the network's tasks bring the time and the dice.

use crate::contract::Time;
use crate::ids::NodeId;

/// How dialling a peer has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    failures: u32,
    until: Option<Time>,
}

impl Tries {
    /// Whether it may be dialled now.
    pub fn may(&self, now: Time) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// A dial has failed. The next waits twice as long as the last, up to a limit, and by `dice` between half
    /// of that and all of it, so that the peers of one that comes back do not all come at once.
    pub fn failed(&mut self, now: Time, dice: u64) {
        let most = (WAIT_MS << self.failures.min(WAIT_DOUBLINGS)).min(WAIT_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus_ms(most / 2 + dice % (most / 2 + 1)));
    }

    /// It is there, or there is a new reason to try.
    pub fn forget(&mut self) {
        *self = Tries::default();
    }
}

/// A connection to a peer, as far as choosing between two of them goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether this node dialled it.
    pub dialled: bool,
    /// The number that the peer's process drew when it started.
    pub life: u64,
}

/// What becomes of two connections to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The new one is used. The old one is dead: the peer's process is another.
    Replace,
    /// The new one is used, the old one only for what runs on it.
    Prefer,
    /// The old one is used, the new one only for what the peer has begun on it.
    Keep,
}

/// Chooses between the connection `old` and a newer one. Two nodes that dialled each other at once both
/// keep the one that the node with the lower id dialled.
pub fn choose(me: NodeId, peer: NodeId, old: Line, new: Line) -> Choice {
    if old.life != new.life {
        Choice::Replace
    } else if old.dialled == new.dialled || new.dialled == (me < peer) {
        Choice::Prefer
    } else {
        Choice::Keep
    }
}

/// The first wait, and the longest: a laptop that wakes is back within seconds.
const WAIT_MS: u64 = 100;
const WAIT_MS_MAX: u64 = 5_000;
const WAIT_DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: NodeId = NodeId([1; 32]);
    const HIGH: NodeId = NodeId([2; 32]);

    #[test]
    fn waits_double_up_to_a_limit_and_are_never_less_than_half() {
        let (mut least, mut most) = (Tries::default(), Tries::default());
        let mut waits = Vec::new();
        for _ in 0..8 {
            least.failed(Time(0), 0);
            most.failed(Time(0), longest(waits.len()) / 2);
            let (Some(least), Some(most)) = (least.until, most.until) else {
                panic!("a failure makes wait");
            };
            waits.push((least.0, most.0));
        }
        assert_eq!(waits[0], (50, 100));
        assert_eq!(waits[1], (100, 200));
        assert_eq!(waits[7], (2_500, 5_000));
        assert!(!least.may(Time(2_499)) && least.may(Time(2_500)));
        least.forget();
        assert!(least.may(Time(0)));
    }

    fn longest(failures: usize) -> u64 {
        (WAIT_MS << failures.min(6)).min(WAIT_MS_MAX)
    }

    #[test]
    fn both_ends_of_two_simultaneous_dials_keep_the_same_one() {
        // Whichever of the two comes up first at either end, the one that LOW dialled is used.
        let line = |dialled| Line { dialled, life: 7 };
        for old_by_low in [true, false] {
            let at_low = choose(LOW, HIGH, line(old_by_low), line(!old_by_low));
            let at_high = choose(HIGH, LOW, line(!old_by_low), line(old_by_low));
            let expected = if old_by_low {
                Choice::Keep
            } else {
                Choice::Prefer
            };
            assert_eq!((at_low, at_high), (expected, expected));
        }
    }

    #[test]
    fn a_peer_that_started_again_leaves_nothing_on_its_old_connection() {
        for (old, new) in [(true, true), (true, false), (false, true), (false, false)] {
            let old = Line {
                dialled: old,
                life: 1,
            };
            let new = Line {
                dialled: new,
                life: 2,
            };
            assert_eq!(choose(LOW, HIGH, old, new), Choice::Replace);
        }
    }
}
