//! What runs in the next step: batch, pages, sampling. Lives in a child process.
//!
//! ```text
//! pipe ──frames──> Desk ──plan──> Forward (pages, weights, threads)
//!      <──frames──  │ Batch: who runs, which pages
//!                   │ Drafts: what may come next; Words: text to ids and back; Sampler: logits to the next id
//! ```
//!
//! An engine is single-threaded but for the threads inside `Forward`, and it is no actor: it has one peer,
//! one pipe and one job. Its keeper is `EngineProcess`. When it dies, by a hostile file or a bug, the keeper
//! tells the sessions, which go on elsewhere at the next token.
//!
//! The simulator drives a [`Desk`] over a [`pretend`] [`Forward`]; everything else is the same code.

mod batch;
mod checks;
mod desk;
mod draft;
pub mod frames;
mod inbox;
mod memory;
pub mod native;
mod pace;
mod pages;
pub mod pipe;
mod prefixes;
pub mod pretend;
mod rates;
mod serve;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Limits, Place, Plan, Reads, Run};
pub use desk::{ATTEMPTS_MAX, Desk, Forward, Words};
pub use memory::{Copies, PageCopy};
pub use pace::BUDGET_MAX;
pub use pages::{PAGE_TOKENS, PageId};
pub use serve::{say_unfit, serve};
/// What a desk draws and counts with, for whoever wants to know a right answer without one.
pub use troop_kernels::mean::Mean;
pub use troop_kernels::sample::{Params, Sampler, log_probabilities};
