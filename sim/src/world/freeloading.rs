//! Clients with a program of their own: they take whole answers, and keep to themselves what their workers would be
//! paid by.

use super::World;
use crate::faults::Fault;
use troop_actors::routing::Message;
use troop_actors::{engine_process, outbox};

impl World {
    /// Whether a client does not say this, which an honest one would.
    pub(super) fn withheld(&mut self, message: &Message) -> bool {
        let Some(strength) = self.scenario.plan.strength(Fault::Freeloading) else {
            return false;
        };
        let attempt = match message {
            // A worker's own parcel has another name.
            Message::Outbox(outbox::protocol::Input::Post(parcel))
                if parcel.id == parcel.evidence.statement().attempt =>
            {
                parcel.id
            }
            Message::EngineProcess(engine_process::protocol::Input::Vouch { attempt, .. }) => {
                *attempt
            }
            _ => return false,
        };
        let vouches = matches!(message, Message::EngineProcess(_));
        // Of each attempt its client is of one mind: its name decides.
        let [lot, how, ..] = attempt.0;
        if self.healed || f64::from(lot) >= 128.0 * strength {
            return false;
        }
        let is_withheld = match how % 3 {
            // Nothing at all.
            0 => true,
            // Everything but the end.
            1 => !vouches || self.unsigned.contains(&attempt),
            // The worker gets everything, and the coordinator nothing.
            _ => !vouches,
        };
        if !vouches {
            self.unsigned.insert(attempt);
        }
        self.strikes += u64::from(is_withheld);
        is_withheld
    }
}
