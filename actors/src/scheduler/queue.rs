//! The scheduler's core: who waits, who runs, and where.

use super::protocol::{Effect, Input};
use crate::contract::{Core, Time};
use crate::ids::NodeId;

/// Who waits and who runs.
#[derive(Debug)]
pub struct Queue {
    _me: NodeId,
}

impl Queue {
    /// The empty queue of the coordinator `me`.
    pub fn new(me: NodeId) -> Queue {
        Queue { _me: me }
    }
}

impl Core for Queue {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, _now: Time, _input: Input, _out: &mut Vec<Effect>) {}

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {}
}
