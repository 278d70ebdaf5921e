//! How fast a membership asks, and how slowly it believes the worst.
//!
//! Detection of a crash takes a probe (the members are gone through in random order, one a period), and the time a suspect has to
//! contradict. The more members, and the less this node can trust itself, the longer that is.

use super::packet::PACKET_BYTES_MAX;
use core::num::{NonZeroU8, NonZeroUsize};
use core::time::Duration;
use foca::{Config, PeriodicParams};

/// foca's settings. It does not let periods be changed while it runs, so what must change (see [`Health`]) is
/// done to its timers.
pub(super) fn config() -> Config {
    let every = |ms, members| {
        Some(PeriodicParams {
            frequency: Duration::from_millis(ms),
            num_members: some(members),
        })
    };
    Config {
        probe_period: Duration::from_millis(500),
        probe_rtt: Duration::from_millis(150),
        num_indirect_probes: some(3),
        max_transmissions: NonZeroU8::MIN.saturating_add(9),
        suspect_to_down_after: Duration::from_millis(SUSPECT_MS),
        remove_down_after: Some(Duration::from_millis(FORGOTTEN_MS)),
        max_packet_size: some(PACKET_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: every(30_000, 1),
        periodic_announce_to_down_members: every(5_000, 2),
        periodic_gossip: every(200, 3),
    }
}

fn some(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count - 1)
}

/// How well this node itself is, as far as it can tell (Lifeguard): 0 is well. One whose own probes fail, or that
/// did not run for a while, asks more slowly and waits longer before it holds others dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health(u32);

impl Health {
    /// A probe failed, or others had no answer from this node.
    pub(super) fn worse(&mut self) {
        self.0 = (self.0 + 1).min(HEALTH_MAX);
    }

    /// A probe was answered.
    pub(super) fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// The node did not run for a while.
    pub(super) fn paused(&mut self) {
        self.0 = self.0.max(HEALTH_MAX / 2);
    }

    /// A time between probes, stretched.
    pub(super) fn stretch(self, time: Duration) -> Duration {
        time * (1 + self.0)
    }

    /// How long one of `members` may be suspect before it is held dead. A first failure is no sign of illness: it
    /// may be that very member's.
    pub(super) fn patience(self, members: usize) -> Duration {
        let doublings = members.div_ceil(SMALL).max(1).next_power_of_two().ilog2();
        let ms = SUSPECT_MS + u64::from(doublings) * SUSPECT_DOUBLING_MS;
        Duration::from_millis(ms) * (1 + self.0.saturating_sub(1))
    }
}

/// Of so many members alive lately, how many may be held dead within [`EVICT_WINDOW_MS`]: a quarter, and one. If
/// more are silent at once, it is rather this node that is cut off.
pub(super) fn evictions_max(members: usize) -> usize {
    1 + members / 4
}

/// See [`evictions_max`].
pub(super) const EVICT_WINDOW_MS: u64 = 10_000;
/// A node that was heard of its own in so long a time is not held dead, whoever says so.
pub(super) const EVIDENCE_MS: u64 = 2_000;
/// How often connections are looked at, and what is wanted is asked.
pub(super) const TICK_MS: u64 = 500;
/// A node that did not run for so long knows nothing of the others.
pub(super) const PAUSE_MS: u64 = 1_500;
/// How often a node that knows nobody asks its coordinator.
pub(super) const JOIN_MS: u64 = 1_000;
/// How often lists are compared with another member's.
pub(super) const EXCHANGE_MS: u64 = 15_000;
/// How long a node that could not be asked is left alone.
pub(super) const AGAIN_MS: u64 = 5_000;
/// And one that only others speak of.
pub(super) const CANDIDATE_AGAIN_MS: u64 = 30_000;
/// When a node that is dead is no longer spoken of.
pub(super) const FORGOTTEN_MS: u64 = 24 * 3_600_000;
/// How far another one's clock may be ahead: incarnations begin as the time of the start.
pub(super) const AHEAD_MS: u64 = 24 * 3_600_000;
/// Nodes that are asked at once, and new ones at one tick.
pub(super) const ASKS_MAX: usize = 4;
pub(super) const ASKS_TICK: usize = 2;
/// Nodes that only others speak of, and that are still to be asked themselves.
pub(super) const CANDIDATES_MAX: usize = 256;

/// How long one of few members may be suspect, how many are few, and what each doubling beyond adds: word of a suspicion
/// and of its refutation has to get around.
const SUSPECT_MS: u64 = 2_000;
const SMALL: usize = 8;
const SUSPECT_DOUBLING_MS: u64 = 3_000;
const HEALTH_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_members_are_given_two_seconds_and_more_are_given_more() {
        let patience = |members| Health::default().patience(members).as_millis();
        assert_eq!(
            [1, 4, 8, 9, 16, 50, 500].map(patience),
            [2_000, 2_000, 2_000, 5_000, 5_000, 11_000, 20_000]
        );
    }

    #[test]
    fn who_is_unwell_asks_more_slowly_and_waits_longer() {
        let mut health = Health::default();
        let second = Duration::from_secs(1);
        health.worse();
        assert_eq!(health.patience(4).as_millis(), 2_000);
        assert_eq!(health.stretch(second).as_secs(), 2);
        health.paused();
        assert_eq!(health.patience(4).as_millis(), 8_000);
        for _ in 0..20 {
            health.worse();
        }
        assert_eq!(health.stretch(second).as_secs(), 9);
        for _ in 0..20 {
            health.better();
        }
        assert_eq!(health, Health::default());
    }
}
