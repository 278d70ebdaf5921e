//! What time it is where tickets come from, what they are signed with, and what the coordinator has taken back.
//!
//! ```text
//! door ─Consult(sent, list, keys)─> coordinator ─Told(sent, there, list, keys)─> door   offset = there + way back - now
//!                                   the first of them: since = there
//! ```
//!
//! A ticket from before `since` may have been let in by a door before this one, which remembers nothing of it. One from
//! after it cannot have been: the coordinator said that time to this door. So whatever two clocks differ by, a door is
//! open as soon as it is answered.
//!
//! Tickets bear the coordinator's time, so a door judges them by that: its own clock and the offset, as it was last
//! measured on a way that was short enough to measure by. A clock that is too far off may be anybody's, the
//! coordinator's too: then nothing is let in, by name, rather than by a guess.

use super::Turnaway;
use crate::contract::Time;
use crate::ids::NodeId;
use crate::ticket::{Claims, KeySet, Revocations};

/// The coordinator's time, its keys, and its list. Keys and list are signed, and good without the coordinator.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// The coordinator's time when it answered this door first.
    since: Option<Time>,
    /// How far the coordinator's clock is ahead of ours, in milliseconds, once it is known.
    offset_ms: i64,
    /// When it is asked next, and when it was asked last.
    pub(super) ask: Time,
    asked: Option<Time>,
    keys: Option<KeySet>,
    list: Option<Revocations>,
}

impl Times {
    /// Those of a door that opens now, and asks at once: but never in the millisecond in which one before it may
    /// have asked, whose answer is not its own.
    pub(super) fn new(now: Time) -> Times {
        Times {
            ask: now.plus_ms(1),
            ..Times::default()
        }
    }

    /// The number of the list that is known; 0 while none is.
    pub(super) fn list(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.number)
    }

    /// The earliest epoch whose tickets are good.
    pub(super) fn epoch(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.epoch)
    }

    /// The keys that tickets are signed with, once they are known.
    pub(super) fn keys(&self) -> Option<&KeySet> {
        self.keys.as_ref()
    }

    /// Takes the keys that `issuer` signed, if they are later than those that are here.
    pub(super) fn learn(&mut self, keys: KeySet, issuer: NodeId) {
        let known = self.keys.as_ref();
        if known.is_none_or(|known| keys.since > known.since) && keys.verifies(issuer) {
            self.keys = Some(keys);
        }
    }

    /// The coordinator is asked now.
    pub(super) fn ask(&mut self, now: Time) {
        self.asked = Some(now);
        self.ask = now.plus_ms(match (self.since, &self.keys) {
            (Some(_), Some(_)) => CONSULT_EVERY_MS,
            _ => CONSULT_AGAIN_MS,
        });
    }

    /// The coordinator has answered what it was asked at `sent`.
    pub(super) fn told(&mut self, now: Time, sent: Time, there: Time) {
        if self.asked.take_if(|asked| *asked == sent).is_none() {
            return;
        }
        // Earlier than the first word: the clock was set back, and what this door let in it remembers itself.
        self.since = Some(self.since.map_or(there, |since| since.min(there)));
        let way_ms = now.since_ms(sent);
        if way_ms <= WAY_MS_MAX {
            let there = there.plus_ms(way_ms / 2);
            self.offset_ms = there.0 as i64 - now.0 as i64;
        }
    }

    /// Takes a list that its issuer signed, and that is later than the one that is here.
    pub(super) fn take(&mut self, list: Revocations) {
        self.list = Some(list);
    }

    /// What time it is where tickets come from.
    pub(super) fn there(&self, now: Time) -> Result<Time, Turnaway> {
        let offset_ms = self.offset_ms;
        match offset_ms.unsigned_abs() > OFFSET_MS_MAX {
            true => Err(Turnaway::ClockUnsafe { offset_ms }),
            false => Ok(Time(now.0.saturating_add_signed(offset_ms))),
        }
    }

    /// Tickets up to this time of the coordinator's are not this door's, once it is known.
    pub(super) fn since(&self) -> Option<Time> {
        self.since
    }

    /// Whether a ticket was taken back.
    pub(super) fn is_revoked(&self, claims: &Claims) -> bool {
        self.list.as_ref().is_some_and(|list| list.names(claims))
    }
}

/// How often the coordinator is asked: what it takes back ends within twice that.
const CONSULT_EVERY_MS: u64 = 5_000;
/// And while it has not answered yet, or not said what tickets are signed with: until then nobody is let in.
const CONSULT_AGAIN_MS: u64 = 500;
/// A way there and back that took longer says nothing about clocks.
const WAY_MS_MAX: u64 = 2_000;
/// How far two clocks may be apart.
pub(super) const OFFSET_MS_MAX: u64 = 30_000;
