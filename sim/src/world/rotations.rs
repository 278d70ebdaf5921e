//! Tickets are signed with another key while everything goes on.

use super::carry::Performed;
use super::{Happening, World};
use crate::checker::{Verdict, require};
use crate::faults::Plan;
use crate::node::Actor;
use crate::workload;
use troop_actors::routing::{Message, TicketIssuerPort};
use troop_actors::ticket_issuer;

impl World {
    /// Draws when the owner of the coordinator will want other keys.
    pub(super) fn plan_rotations(&mut self) {
        let rotations = workload::rotations(&self.scenario, &mut self.dice.fork("rotations"));
        for (at, revokes) in rotations {
            self.push(at, Happening::Rotate { revokes });
        }
    }

    /// The owner of the coordinator wants another key, if it is there.
    pub(super) fn rotate(&mut self, revokes: bool) -> Verdict {
        self.tell(&format!("the owner rotates keys, revoking {revokes}"));
        if revokes {
            self.keys.revoked();
        }
        let call = 0;
        let rotate = ticket_issuer::protocol::Input::Rotate { call, revokes };
        self.deliver(0, Message::TicketIssuer(rotate))
    }

    /// Whether nothing goes wrong in this run.
    pub(super) fn is_calm(&self) -> bool {
        self.scenario.plan == Plan::default()
    }
}

impl Performed for TicketIssuerPort {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict {
        match self {
            TicketIssuerPort::Persist { write, rotation } => {
                world.nodes[node].turns.writes.push_back((write, rotation));
                world.write(node, actor);
                Ok(())
            }
            TicketIssuerPort::Answer { outcome, .. } => {
                let Ok(told) = outcome else { return Ok(()) };
                let issuer = world.nodes[node].wiring.me;
                require(told.keys.verifies(issuer), "keys are signed", || {
                    format!("n{node} says {:?}", told.keys)
                })?;
                world.keys.told(told.keys.since)
            }
        }
    }
}
