//! What a core promises to the shell that carries it, and to the simulator that doubts it.
//!
//! A core is a state machine: `step(now, input, out)`. Time, chance and bytes come in as inputs; what is to
//! be done about them goes out as effects. The same inputs give the same outputs, always, so a run can be
//! repeated from a seed and a state can be rebuilt from its inputs. A core never asks for anything: if it
//! needs an answer it emits an effect and the answer comes back as an input, or does not, and then
//! [`Core::deadline`] passes. There is no unbounded wait in this form.

use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A pure state machine; see the module's page.
pub trait Core {
    /// What may happen to it.
    type Input: Debug;
    /// What it wants done.
    type Effect: Debug;

    /// Takes one input at time `now` and appends what follows from it to `out`.
    fn step(&mut self, now: Time, input: Self::Input, out: &mut Vec<Self::Effect>);

    /// When [`Core::wake`] is wanted next, if ever. A time in the past means at once.
    fn deadline(&self) -> Option<Time>;

    /// The deadline has passed. Calling it too early or twice changes nothing.
    fn wake(&mut self, now: Time, out: &mut Vec<Self::Effect>);

    /// Asserts every invariant. The simulator calls it after every step, shells do in debug builds.
    fn check(&self);
}

/// Milliseconds since the Unix epoch, on this node's own clock.
///
/// A shell's clock starts at the wall clock and then only counts forward, so within one life of a process
/// it never goes backwards; between nodes it may differ.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// This time, `ms` milliseconds later; saturates at the end of time.
    pub fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    pub fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// The earlier of two deadlines, where either may be absent.
pub fn earliest(left: Option<Time>, right: Option<Time>) -> Option<Time> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, None) | (None, one) => one,
    }
}
