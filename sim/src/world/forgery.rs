//! A stranger on the network: it sees what passes, and sends what it was never given the right to.
//!
//! It has a key that nobody invited. A connection tells who speaks, so what it sends bears its own name; it
//! can repeat tickets, cancel attempts and alter receipts, but it cannot sign for others.

use super::{Happening, World};
use crate::faults::Fault;
use troop_actors::ids::NodeId;
use troop_actors::routing::Message;
use troop_actors::{doorkeeper, engine_process, ledger, scheduler};

/// The stranger. No node of a run has this id: it is no valid key.
pub(super) const STRANGER: NodeId = NodeId([0xee; 32]);

impl World {
    /// A message has passed by; perhaps the stranger makes something of it.
    pub(super) fn overheard(&mut self, to: usize, message: &Message) {
        let Some(strength) = self.scenario.plan.strength(Fault::Forgery) else {
            return;
        };
        if self.healed || !self.dice.chance(0.3 * strength) {
            return;
        }
        let mut forged = message.clone();
        match &mut forged {
            Message::Doorkeeper(doorkeeper::protocol::Input::Knock { peer, .. })
            | Message::EngineProcess(
                engine_process::protocol::Input::Cancel { peer, .. }
                | engine_process::protocol::Input::Vouch { peer, .. },
            ) => {
                *peer = STRANGER;
            }
            Message::Ledger(ledger::protocol::Input::Settle { from, receipt, .. }) => {
                *from = STRANGER;
                let tally = &mut receipt.receipt.tally;
                // More for the worker, or less from the client.
                tally.completion_tokens = if self.dice.chance(0.5) {
                    tally.completion_tokens + 1
                } else {
                    tally.completion_tokens / 2
                };
            }
            Message::Ledger(ledger::protocol::Input::Claim { from, claim, .. }) => {
                *from = STRANGER;
                claim.receipt.tally.completion_tokens += 1;
            }
            // Who is told that it is paid would let go of what it has in hand.
            Message::EngineProcess(engine_process::protocol::Input::Paid { .. }) => {}
            Message::Scheduler(scheduler::protocol::Input::Finished { client, .. }) => {
                *client = STRANGER;
            }
            // What a worker or the coordinator told a session, told again by somebody else.
            Message::Session(..) => {}
            _ => return,
        }
        self.strikes += 1;
        // It may arrive before what was overheard, or long after.
        let at = self.now + self.dice.exponential(200_000);
        let message = Box::new(forged);
        self.push(
            at,
            Happening::Letter {
                from: STRANGER,
                to,
                life: None,
                message,
            },
        );
    }
}
