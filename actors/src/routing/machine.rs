//! The ways of what watches over the machine.

use super::{Message, Out, Routed, Wiring, letter};
use crate::engine_process;
use crate::gpu_monitor::protocol::Effect;

/// A look at the machine, to be taken and answered with `Seen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookPort {
    /// Its number.
    pub look: u64,
}

impl Routed for Effect {
    type Port = LookPort;

    fn route(self, wiring: &Wiring) -> Out<LookPort> {
        match self {
            Effect::Look { look } => Out::Port(LookPort { look }),
            Effect::Tell(now_for) => letter(
                wiring.me,
                Message::EngineProcess(engine_process::protocol::Input::Machine { now_for }),
            ),
        }
    }
}
