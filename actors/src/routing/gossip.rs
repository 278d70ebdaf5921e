//! Where the effects of gossip go: to the scheduler, or outside.

use super::{Message, Out, Routed, Wiring, letter};
use crate::{membership, scheduler};

impl Routed for membership::protocol::Effect {
    type Port = membership::protocol::Errand;

    fn route(self, wiring: &Wiring) -> Out<Self::Port> {
        use membership::protocol::Effect;
        let told = |worker, absent| {
            let input = scheduler::protocol::Input::Absent { worker, absent };
            letter(wiring.me, Message::Scheduler(input))
        };
        match self {
            Effect::Errand(errand) => Out::Port(errand),
            Effect::Lost { node } => told(node, true),
            Effect::Back { node } => told(node, false),
        }
    }
}
