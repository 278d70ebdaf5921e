//! What foca wants to be reminded of, and since when.

use crate::contract::{Time, earliest};
use crate::ids::NodeId;
use crate::membership::packet::Identity;
use core::time::Duration;
use foca::Timer;
use std::collections::BTreeMap;

/// Reminders, the earliest first; those of one moment in the order of their setting.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Time, u64), (Time, Timer<Identity>)>,
    set: u64,
    /// Dead nodes to be forgotten: one reminder each, the last, because a node may die often in a day.
    forget: BTreeMap<NodeId, (Time, Identity)>,
}

impl Timers {
    /// Sets one, from `now` on.
    pub(super) fn set(&mut self, now: Time, after: Duration, timer: Timer<Identity>) {
        let at = now.plus_ms(after.as_millis() as u64);
        match timer {
            Timer::RemoveDown(life) => drop(self.forget.insert(life.node, (at, life))),
            timer => self.put(at, now, timer),
        }
    }

    /// Puts one at a moment, which was set `since` then.
    pub(super) fn put(&mut self, at: Time, since: Time, timer: Timer<Identity>) {
        self.set += 1;
        self.due.insert((at, self.set), (since, timer));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Time> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        // Nodes are forgotten after a day: whoever looks at all of them need not be quick.
        earliest(due, self.forget.values().map(|(at, _)| *at).min())
    }

    /// The next one that is due, and since when it was set.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, Timer<Identity>)> {
        if let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            return Some(first.remove());
        }
        let due = |(node, (at, _)): (&NodeId, &(Time, Identity))| (*at <= now).then_some(*node);
        let node = self.forget.iter().find_map(due)?;
        let (_, life) = self.forget.remove(&node)?;
        Some((now, Timer::RemoveDown(life)))
    }

    /// Everything is due later: the node slept meanwhile.
    pub(super) fn delay(&mut self, ms: u64) {
        let due = core::mem::take(&mut self.due);
        let later = |((at, number), (since, timer)): ((Time, u64), (Time, Timer<Identity>))| {
            ((at.plus_ms(ms), number), (since.plus_ms(ms), timer))
        };
        self.due = due.into_iter().map(later).collect();
    }
}
