//! What a seed stands for: how many nodes, who owns them, what they can do, what goes wrong, and for how long.

use crate::dice::Dice;
use crate::faults::Plan;
use troop_actors::price::{CREDIT, Micros};

/// A run, before it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The seed; everything else follows from it.
    pub seed: u64,
    /// Whether the coordinator serves models as well.
    pub coordinator_works: bool,
    /// Workers beside the coordinator.
    pub workers: usize,
    /// Nodes that only ask.
    pub clients: usize,
    /// Members, each with what it is granted at first; a node belongs to the member of its number, in turn.
    pub members: Vec<Micros>,
    /// KV pages of each engine.
    pub pages: u32,
    /// Sequences each engine runs at once.
    pub sequences_max: u32,
    /// Microseconds an engine takes for a step.
    pub step: u64,
    /// Requests made while faults are on.
    pub requests: usize,
    /// Microseconds over which they are made.
    pub safety: u64,
    /// What goes wrong.
    pub plan: Plan,
}

impl Scenario {
    /// The run of `seed`.
    pub fn draw(seed: u64) -> Scenario {
        let mut dice = Dice::new(seed).fork("scenario");
        let plan = Plan::draw(&mut dice);
        let members = dice.between(2, 4) as usize;
        let members = (0..members)
            .map(|_| match dice.below(10) {
                // A member who can hardly pay for one request sees every edge of a balance.
                0..3 => dice.between(1, CREDIT / 4),
                3..7 => dice.between(CREDIT / 4, 4 * CREDIT),
                _ => 1_000 * CREDIT,
            })
            .collect();
        Scenario {
            seed,
            coordinator_works: dice.chance(0.4),
            workers: dice.between(2, 4) as usize,
            clients: dice.between(1, 3) as usize,
            members,
            pages: dice.between(24, 96) as u32,
            sequences_max: dice.between(2, 16) as u32,
            step: dice.between(4_000, 30_000),
            requests: dice.between(20, 80) as usize,
            safety: dice.between(20, 90) * 1_000_000,
            plan,
        }
    }

    /// Nodes in all; the first is the coordinator, workers follow, then clients.
    pub fn nodes(&self) -> usize {
        1 + self.workers + self.clients
    }

    /// Whether node `node` serves models.
    pub fn works(&self, node: usize) -> bool {
        if node == 0 {
            self.coordinator_works
        } else {
            node <= self.workers
        }
    }

    /// The number of the member who owns a node.
    pub fn owner(&self, node: usize) -> usize {
        node % self.members.len()
    }

    /// One line for the head of a trace and of a failure's report.
    pub fn describe(&self) -> String {
        let faults: Vec<String> = self
            .plan
            .faults()
            .map(|(fault, strength)| format!("{fault:?} {strength:.2}"))
            .collect();
        format!(
            "seed {}: coordinator{}, {} workers, {} clients, {} members, {} pages, {} sequences, \
             step {} us, {} requests in {} s, faults: [{}]",
            self.seed,
            if self.coordinator_works {
                " (works)"
            } else {
                ""
            },
            self.workers,
            self.clients,
            self.members.len(),
            self.pages,
            self.sequences_max,
            self.step,
            self.requests,
            self.safety / 1_000_000,
            faults.join(", ")
        )
    }
}
