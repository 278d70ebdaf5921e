//! The monitor's core: what the machine is free for, and since when everything speaks for something else.
//!
//! ```text
//! Idle ──what speaks against it lasts for WANTED_MS; heat and loss at once──> Wanted
//! Wanted ──nothing speaks against it for the owner's idle time──────────────> Idle
//! ```
//!
//! Only what lasts changes anything, so the machine changes hands at most twice in an idle time (G1): an engine that
//! is unloaded and loaded again and again helps nobody. What is not seen counts as wanted (G2), and time that passed
//! unseen, as while a laptop slept, counts for nothing (G3). The first reading of all decides at once.

use super::policy::Policy;
use super::protocol::{Effect, Input, Reading, Reason, Use};
use crate::contract::{Core, Time};

/// See the module's page.
#[derive(Debug)]
pub struct Gauge {
    policy: Policy,
    now_for: Option<Use>,
    /// Since when everything that was seen contradicts it.
    contradicted: Option<Time>,
    weighed: Time,
    look: Look,
    tell_at: Time,
}

/// The looking at the machine; one at a time.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// The next one.
    At(Time),
    /// One that was ordered.
    Ordered { look: u64, late_at: Time },
}

impl Gauge {
    /// A gauge that has seen nothing yet.
    pub fn new(policy: Policy, now: Time) -> Gauge {
        Gauge {
            policy,
            now_for: None,
            contradicted: None,
            weighed: now,
            look: Look::At(now),
            tell_at: now,
        }
    }

    /// What the machine is free for, as far as is known.
    pub fn now_for(&self) -> Option<Use> {
        self.now_for
    }

    fn against(&self, reading: &Reading) -> Use {
        let away = matches!(self.now_for, Some(Use::Wanted(_)));
        match self.policy.against(reading, away) {
            Some(reason) => Use::Wanted(reason),
            None => Use::Idle,
        }
    }

    /// Takes in what was seen, or that nothing was.
    fn weigh(&mut self, now: Time, seen: Use, out: &mut Vec<Effect>) {
        if now.since_ms(self.weighed) > UNSEEN_MS_MAX {
            self.contradicted = None;
        }
        self.weighed = now;
        let before = self.now_for;
        let changes = match (before, seen) {
            (None, _) => true,
            (Some(Use::Idle), Use::Idle) | (Some(Use::Wanted(_)), Use::Wanted(_)) => {
                self.contradicted = None;
                // Another reason is no change of hands.
                before != Some(seen)
            }
            (Some(_), seen) => {
                let since = *self.contradicted.get_or_insert(now);
                now.since_ms(since) >= self.patience_ms(seen)
            }
        };
        if changes {
            self.now_for = Some(seen);
            self.contradicted = None;
        }
        if changes || now >= self.tell_at {
            let told = self.now_for.expect("something was seen");
            self.tell_at = now.plus_ms(TELL_EVERY_MS);
            out.push(Effect::Tell(told));
        }
    }

    /// How long `seen` has to last.
    fn patience_ms(&self, seen: Use) -> u64 {
        match seen {
            Use::Idle => self.policy.idle_ms,
            Use::Wanted(Reason::Hot | Reason::Lost) => 0,
            Use::Wanted(_) => WANTED_MS,
        }
    }
}

impl Core for Gauge {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        let Input::Seen { look, reading } = input;
        if !matches!(self.look, Look::Ordered { look: known, .. } if known == look) {
            return;
        }
        self.look = Look::At(now.plus_ms(LOOK_EVERY_MS));
        let seen = self.against(&reading);
        self.weigh(now, seen, out);
    }

    fn deadline(&self) -> Option<Time> {
        Some(match self.look {
            Look::At(at) => at,
            Look::Ordered { late_at, .. } => late_at,
        })
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        match self.look {
            Look::At(at) if at <= now => {
                // The numbers need only differ from one look to the next, in this life and the one before.
                let look = now.0;
                let late_at = now.plus_ms(LOOK_MS_MAX);
                self.look = Look::Ordered { look, late_at };
                out.push(Effect::Look { look });
            }
            Look::Ordered { look, late_at } if late_at <= now => {
                // It is not ordered again: a driver that hangs would hang again.
                let late_at = now.plus_ms(LOOK_EVERY_MS);
                self.look = Look::Ordered { look, late_at };
                self.weigh(now, Use::Wanted(Reason::Unknown), out);
            }
            Look::At(_) | Look::Ordered { .. } => {}
        }
    }

    fn check(&self) {
        if self.now_for.is_none() {
            assert!(self.contradicted.is_none(), "nothing is contradicted yet");
        }
    }
}

/// How often the machine is looked at.
const LOOK_EVERY_MS: u64 = 2_000;
/// How long a look may take: drivers are slow when a card wakes up.
const LOOK_MS_MAX: u64 = 5_000;
/// How long somebody must have wanted the machine: two looks after the first, or a page that loads would do.
const WANTED_MS: u64 = 4_000;
/// Between two looks that are late lies less than this; what lies further apart was not watched.
const UNSEEN_MS_MAX: u64 = LOOK_MS_MAX + 2 * LOOK_EVERY_MS;
/// How often the keeper hears the same again: it may have been started anew.
const TELL_EVERY_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
