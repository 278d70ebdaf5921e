//! What an HTTP dialect makes of the deliveries of its sessions: a stream of events, or one whole answer.
//!
//! A request with several prompts has a session for each; `source` says whose a delivery is, counted in the
//! order of the prompts.

use crate::problem::Problem;
use troop_actors::session::protocol::{Delivery, Trouble};

/// Writes a stream's events.
pub trait Events: Send {
    /// Appends to `out` the events that `delivery` becomes.
    fn write(&mut self, source: usize, delivery: &Delivery, out: &mut Vec<u8>);

    /// Ends the stream with an error.
    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>);

    /// Whether the last event has been written.
    fn over(&self) -> bool;

    /// What a trouble is called here.
    fn problem(&self, source: usize, trouble: &Trouble) -> Problem;
}

/// Gathers a whole answer.
pub trait Whole: Send {
    /// Takes a delivery in; the answer's body, once it is complete.
    fn take(&mut self, source: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem>;
}
