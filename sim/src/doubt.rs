//! Runs seeds, and says of each whether every property held.
//!
//! A core that breaks one of its own invariants panics, as it would in a debug build; here that is one more
//! way for a seed to fail. The report of a failure is enough to see it again: seed, invariant, the last events.

use crate::checker::Violation;
use crate::scenario::Scenario;
use crate::world::{Summary, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A seed that broke a property.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What was run.
    pub scenario: String,
    /// What broke.
    pub violation: Violation,
    /// The last events before that, oldest first.
    pub last: Vec<String>,
    /// The hash of the whole trace up to there.
    pub hash: u64,
}

impl Failure {
    /// The report for people: what to run to see it, what broke, what came before.
    pub fn report(&self, seed: u64) -> String {
        format!(
            "{}\n{}\nseed {seed} breaks \"{}\": {}\nsee it all: just sim {seed}",
            self.last.join("\n"),
            self.scenario,
            self.violation.invariant,
            self.violation.detail
        )
    }
}

/// Runs one seed.
pub fn seed(seed: u64, prints: bool) -> Result<Summary, Box<Failure>> {
    scenario(Scenario::draw(seed), prints)
}

/// Runs one scenario.
pub fn scenario(scenario: Scenario, prints: bool) -> Result<Summary, Box<Failure>> {
    let about = scenario.describe();
    let mut world = World::new(scenario, prints);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match ran {
        Ok(Ok(summary)) => return Ok(summary),
        Ok(Err(violation)) => violation,
        Err(panic) => Violation {
            invariant: "no core panics",
            detail: panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without words".to_owned()),
        },
    };
    Err(Box::new(Failure {
        scenario: about,
        violation,
        last: world.trace.last(),
        hash: world.trace.hash(),
    }))
}
