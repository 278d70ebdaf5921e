//! What an answer costs its payer, counted as its sessions end.

use crate::gateway::shared::Shared;
use std::collections::BTreeMap;
use troop_actors::ids::{MemberId, NodeId};
use troop_actors::price::{Micros, Prices};
use troop_actors::session::protocol::Delivery;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Bill {
    /// The node whose work costs the payer nothing, if one's does.
    free: Option<NodeId>,
    workers: BTreeMap<usize, NodeId>,
    /// Nothing once it is more than can be counted.
    cost: Option<Micros>,
}

impl Bill {
    pub(crate) fn new(payer: MemberId, shared: &Shared) -> Bill {
        Bill {
            // Work for one's own member makes a receipt and no transfer.
            free: (payer == shared.owner).then_some(shared.me),
            workers: BTreeMap::new(),
            cost: Some(0),
        }
    }

    /// Takes note of what a session delivers.
    pub(crate) fn hear(&mut self, source: usize, delivery: &Delivery) {
        match delivery {
            Delivery::Started { worker, .. } => {
                self.workers.insert(source, *worker);
            }
            Delivery::Done {
                prompt_tokens,
                completion_tokens,
                ..
            } => {
                let worker = self.workers.get(&source);
                let more = match self.free.is_some() && worker == self.free.as_ref() {
                    true => Some(0),
                    false => {
                        Prices::REFERENCE.cost((*prompt_tokens).into(), (*completion_tokens).into())
                    }
                };
                self.cost = self.cost.and_then(|cost| cost.checked_add(more?));
            }
            _ => {}
        }
    }

    /// What the sessions that have ended cost together.
    pub(crate) fn cost(&self) -> Option<Micros> {
        self.cost
    }

    /// Who works for the first of them.
    pub(crate) fn worker(&self) -> Option<NodeId> {
        self.workers.values().next().copied()
    }
}
