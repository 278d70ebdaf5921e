//! Many nodes in one thread, under faults, from one seed: the doubter of every other crate's decisions.
//!
//! [`world`] is the clock and the queue of what is about to happen. Each [`node`] runs the real cores and the
//! real stores; what the cores want done goes through the one wiring of `troop_actors::routing`, over a
//! pretend [`network`], to a pretend [`disk`], to engines that are real but for their arithmetic
//! ([`engine`]). A [`scenario`] is drawn from a seed: its [`workload`], its [`faults`]. The [`checker`] is told
//! everything and compares it with its own reckoning; the [`trace`] tells it to people.
//!
//! ```text
//! seed ─> scenario ─> world: 1 safety, faults strike   2 healed, all must come to rest   3 probes must succeed
//! ```
//!
//! Nothing here reads a clock or rolls dice of its own: one seed is one run, to the last event.

pub mod checker;
pub mod dice;
pub mod disk;
pub mod doubt;
pub mod engine;
pub mod faults;
pub mod network;
pub mod node;
pub mod scenario;
pub mod trace;
pub mod workload;
pub mod world;
